std = "min"
max_line_length = 120
exclude_files = { "build*" }
include_files = { "**/*.lua", "bin/nexus-assistants", "*.rockspec" }
files["spec"] = { std = "min+busted" }
files["**/*.rockspec"] = { std = "rockspec" }
files["types"] = { ignore = { "212", "241" } } -- declarations alone
