#!/bin/sh
# Look at everything once, keep the evidence, say what to do next.
set -eu

usage() {
    cat <<'END'
Usage: check-all.sh FILE

Looks at everything under care by `mcp-ir diagnose`, keeps the snapshot in FILE
(it must not exist: evidence is not overwritten), and prints for each root its
cause and the next command. Changes nothing else.

Exit status, that of mcp-ir:
  0  healthy
  1  a problem of P1 to P3: the roots are printed
  2  usage or configuration, FILE can't be written, no mcp-ir: nothing was
     looked at
  3  unknown: something could not be seen, or mcp-ir gave no answer

MCP_IR names the program [mcp-ir]; its own variables (MCP_IR_CONFIG) hold too.
END
}

case ${1-} in
-h | --help) usage; exit 0 ;;
'' | -*) usage >&2; exit 2 ;;
esac
[ $# -eq 1 ] || { usage >&2; exit 2; }
file=$1
if [ -e "$file" ] || [ -L "$file" ]; then
    echo "check-all.sh: $file exists already: name another file" >&2
    exit 2
fi

# The tool keeps its own deadline (5 s); `timeout` is for the case that it can't.
rc=0
report=$(timeout -k 5 60 "${MCP_IR:-mcp-ir}" diagnose -q -o human --color never \
    --save "$file") || rc=$?

# Each root begins with its severity, cause and subject; its command follows
# `next`. What could not be judged stands at the end.
roots() {
    printf '%s\n' "$report" | LC_ALL=C awk '
        /^P[1-4]  / { cause = $2; subject = $4; severity = $1; at = 0; next }
        /^    next *$/ && cause != "" { at = 1; next }
        at {
            sub(/^ +/, "")
            printf "%s %s (%s)\n  next: %s\n  more: mcp-ir runbook %s\n", \
                severity, cause, subject, $0, cause
            at = 0; cause = ""
        }
        /^    can.t be judged/ { rest = 1 }
        rest && NF { sub(/^    /, ""); print }'
}

case $rc in
0)
    # An exit status alone may be anybody's: the word must be there as well.
    case $report in
    *' healthy '*) echo "healthy" ;;
    *) echo "unknown: no verdict came from mcp-ir"; rc=3 ;;
    esac
    ;;
1)
    case $report in
    *' problem '*) echo "problem"; roots ;;
    *) echo "unknown: no verdict came from mcp-ir"; rc=3 ;;
    esac
    ;;
2 | 126 | 127)
    echo "check-all.sh: nothing was looked at, for the reason above" >&2
    exit 2
    ;;
3)
    echo "unknown, which is not healthy:"
    printf '%s\n' "$report"
    ;;
*)
    # 124, 137: too late. Anything else: it broke.
    echo "unknown: mcp-ir ended with status $rc"
    rc=3
    ;;
esac
if [ -s "$file" ]; then
    echo "evidence: mcp-ir diagnose --from $file"
else
    echo "evidence: none was kept"
fi
exit "$rc"
