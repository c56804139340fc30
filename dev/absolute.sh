# Sourced. A path as it is from any folder: scripts that call each other may change theirs on the way.
absolute() {
  case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$PWD/$1" ;; esac
}
