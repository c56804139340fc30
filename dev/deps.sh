#!/bin/sh
# Installs what is missing to build and run this project; says and does nothing where nothing is missing.
#   sh dev/deps.sh demo|test|ci
# Tested with apt. Where a system has no package of a Lua library, LuaRocks installs it ("rock:" in the table).
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# What each set needs, how to see whether it is there, and what it is called. "-": comes with the system or a package above.
table() {
  cat <<'END'
set |need                        |apt                    |brew        |dnf                |pacman      |apk
demo|c_compiler                  |gcc libc6-dev          |-           |gcc                |gcc         |gcc musl-dev
demo|command make                |make                   |-           |make               |make        |make
demo|command cmake               |cmake                  |cmake       |cmake              |cmake       |cmake
demo|command pkg-config          |pkg-config             |pkgconf     |pkgconf-pkg-config |pkgconf     |pkgconf
demo|lua                         |lua5.4                 |lua@5.4     |lua                |lua54       |lua5.4
demo|library lua5.4 lua-5.4 lua54 lua|liblua5.4-dev      |lua@5.4     |lua-devel          |lua54       |lua5.4-dev
demo|library libcurl             |libcurl4-openssl-dev   |curl        |libcurl-devel      |curl        |curl-dev
demo|library zlib                |zlib1g-dev             |-           |zlib-devel         |zlib        |zlib-dev
demo|certificates                |ca-certificates        |-           |ca-certificates    |ca-certificates|ca-certificates
demo|module cjson                |lua-cjson              |rock:lua-cjson|rock:lua-cjson   |rock:lua-cjson|lua5.4-cjson
demo|module socket               |lua-socket             |rock:luasocket|rock:luasocket   |rock:luasocket|lua5.4-socket
test|module luasql.sqlite3       |lua-sql-sqlite3        |rock:luasql-sqlite3|rock:luasql-sqlite3|rock:luasql-sqlite3|lua5.4-sql-sqlite3
test|module busted.runner        |lua-busted             |rock:busted |rock:busted        |rock:busted |rock:busted
test|library cmocka              |libcmocka-dev          |cmocka      |libcmocka-devel    |cmocka      |cmocka-dev
ci  |command bash                |bash                   |-           |bash               |bash        |bash
ci  |command valgrind            |valgrind               |-           |valgrind           |valgrind    |valgrind
ci  |command luacheck            |lua-check              |rock:luacheck|rock:luacheck     |rock:luacheck|rock:luacheck
ci  |lua_51_compiler             |lua5.1                 |luajit      |luajit             |luajit      |lua5.1
ci  |command clang               |clang                  |-           |clang              |clang       |clang
ci  |command clang-format        |clang-format           |clang-format|clang-tools-extra  |clang       |clang-extra-tools
ci  |command luarocks            |luarocks               |luarocks    |luarocks           |luarocks    |luarocks5.4
ci  |command protoc              |protobuf-compiler      |protobuf    |protobuf-compiler  |protobuf    |protobuf
ci  |module luasql.postgres      |lua-sql-postgres       |rock:luasql-postgres|rock:luasql-postgres|rock:luasql-postgres|lua5.4-sql-postgres
ci  |browser                     |chromium               |chromium    |chromium           |chromium    |chromium
ci  |postgres                    |postgresql             |postgresql  |postgresql-server  |postgresql  |postgresql
END
}

# ---------------------------------------------------------------------------------------------- what is there

command_is_there() { command -v "$1" >/dev/null 2>&1; }
c_compiler_is_there() { echo '#include <stdio.h>' | ${CC:-cc} -fsyntax-only -x c - >/dev/null 2>&1; }
lua_is_there() { [ -n "$lua" ]; }
module_is_there() { [ -n "$lua" ] && "$lua" -e "require '$1'" >/dev/null 2>&1; }
library_is_there() {
  for name; do pkg-config --exists "$name" 2>/dev/null && return 0; done
  return 1
}
lua_51_compiler_is_there() { command_is_there luac5.1 || command_is_there luajit; }
certificates_is_there() {
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ -e "$file" ] && return 0
  done
  return 1
}

browser_is_there() { command_is_there chromium || command_is_there chromium-browser || command_is_there google-chrome; }

# Debian keeps its programs out of the path.
postgres_is_there() { command_is_there initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

# A set holds those before it.
in_set() {
  case $wanted/$1 in demo/demo | test/demo | test/test | ci/*) return 0 ;; *) return 1 ;; esac
}

# Prints the packages of what is missing, in the column of the package manager.
missing_packages() {
  table | tail -n +2 | while IFS='|' read -r set need apt brew dnf pacman apk; do
    in_set "${set%% *}" || continue
    check=${need%% *} arguments=${need#* }
    # shellcheck disable=SC2086 # split on purpose: names to try, packages to print
    "${check}_is_there" $arguments || case $manager in
      apt) echo $apt ;; brew) echo $brew ;; dnf) echo $dnf ;; pacman) echo $pacman ;; apk) echo $apk ;;
      *) echo "$need" ;;
    esac
  done
}

# ---------------------------------------------------------------------------------------------- installing

find_manager() {
  for manager in apt brew dnf pacman apk; do
    case $manager in apt) program=apt-get ;; *) program=$manager ;; esac
    if command_is_there "$program"; then return 0; fi
  done
  manager=none
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env "$@"
  elif command_is_there sudo; then
    sudo env "$@"
  else
    echo "dev/deps.sh: neither root nor sudo; run this as root: $*" >&2
    return 1
  fi
}

install_packages() {
  case $manager in
    apt)
      as_root apt-get update -qq
      as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
      ;;
    brew) brew install -q "$@" ;;
    dnf) as_root dnf install -y -q "$@" ;;
    pacman) as_root pacman -S --needed --noconfirm "$@" ;;
    apk) as_root apk add -q "$@" ;;
  esac
}

install_rocks() {
  command_is_there luarocks || install_packages "$(table | sed -n "s/^ci  |command luarocks *|//p" | field_of "$manager")"
  for rock; do
    if [ "$manager" = brew ]; then luarocks --lua-version 5.4 install "$rock"; else as_root luarocks --lua-version 5.4 install "$rock"; fi
  done
}

field_of() {
  case $1 in apt) n=1 ;; brew) n=2 ;; dnf) n=3 ;; pacman) n=4 ;; *) n=5 ;; esac
  cut -d '|' -f "$n" | tr -d ' '
}

node_packages() { sed -n 's/^    "\(.*\)": "[0-9.]*",\{0,1\}$/\1/p' "$here/package.json"; }
node_packages_are_there() {
  for package in $(node_packages); do
    [ -d "$here/node_modules/$package" ] || return 1
  done
}

# The API's official client and a validator of its description, for CI; where Node or the registry is out of reach their
# specs are skipped.
install_node_tools() {
  if [ "$wanted" != ci ] || node_packages_are_there || ! command_is_there node || ! command_is_there npm; then
    return 0
  fi
  echo "Installing: $here/package.json" >&2
  npm install --prefix "$here" --no-audit --no-fund --no-package-lock --silent </dev/null >&2 ||
    echo "dev/deps.sh: npm could not install; what needs it is skipped" >&2
}

wanted=${1:-demo}
case $wanted in demo | test | ci) ;; *) echo "usage: sh dev/deps.sh demo|test|ci" >&2; exit 2 ;; esac
. "$here/find_lua.sh"
find_manager
install_node_tools
packages="" rocks=""
for package in $(missing_packages); do
  case $package in -) ;; rock:*) rocks="$rocks ${package#rock:}" ;; *) packages="$packages $package" ;; esac
done
[ -n "$packages$rocks" ] || exit 0
if [ "$manager" = none ]; then
  echo "dev/deps.sh: no package manager that it knows (apt, brew, dnf, pacman, apk). Missing:" >&2
  missing_packages >&2
  exit 1
fi
echo "Installing:$packages$rocks" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # lists of words
if ! { [ -z "$packages" ] || install_packages $packages; } >"$log" 2>&1 </dev/null ||
  ! { [ -z "$rocks" ] || install_rocks $rocks; } >>"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  exit 1
fi
