#!/bin/sh
# Wait until several looks in a row are healthy. No answer is never healthy.
set -eu

usage() {
    cat <<'END'
Usage: wait-healthy.sh [-n LOOKS] [-i SECONDS] [-t SECONDS]

Runs `mcp-ir diagnose` until LOOKS of them in a row are healthy.
  -n LOOKS    how many in a row [3]
  -i SECONDS  pause between two looks [10]
  -t SECONDS  give up after so long, a look under way included [300]
Anything else between two healthy looks begins the count anew: a problem,
unknown, no answer. All of the configuration is looked at, not a part of it.

Exit status:
  0  healthy, LOOKS times in a row
  1  not within the time: the last look found a problem, or was healthy
     and not often enough
  2  usage or configuration, no mcp-ir: waiting does not mend it
  3  not within the time: the last look was unknown, or gave no answer

MCP_IR names the program [mcp-ir]; its own variables (MCP_IR_CONFIG) hold too.
END
}

number() {
    case $1 in
    '' | *[!0-9]* | 0?* | ???????*) bad "$2 wants a whole number, not \`$1\`" ;;
    esac
}

bad() {
    echo "wait-healthy.sh: $1" >&2
    usage >&2
    exit 2
}

# By the clock that nobody sets.
now() {
    read -r up _ </proc/uptime
    echo "${up%%.*}"
}

looks=3 pause=10 limit=300
while getopts n:i:t:h option; do
    case $option in
    n) looks=$OPTARG ;;
    i) pause=$OPTARG ;;
    t) limit=$OPTARG ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || bad "what is \`$1\`?"
number "$looks" -n
number "$pause" -i
number "$limit" -t
[ "$looks" -ge 1 ] || bad "-n wants at least 1"
[ "$limit" -ge 1 ] || bad "-t wants at least 1"

end=$(($(now) + limit))
good=0 last=3
while :; do
    left=$((end - $(now)))
    # Not begun, for lack of time: the verdict of the look before stands.
    [ "$left" -ge 1 ] || break
    rc=0
    report=$(timeout -k 1 "$left" "${MCP_IR:-mcp-ir}" diagnose -q -o human \
        --color never) || rc=$?
    first=$(printf '%s\n' "$report" | sed -n 1p)
    case $rc:$first in
    0:*' healthy '*)
        good=$((good + 1))
        echo "healthy, $good of $looks"
        [ "$good" -lt "$looks" ] || exit 0
        last=1
        ;;
    1:*)
        good=0 last=1
        echo "$first"
        ;;
    2:* | 126:* | 127:*)
        echo "wait-healthy.sh: can't be waited for, for the reason above" >&2
        exit 2
        ;;
    3:?*)
        good=0 last=3
        echo "$first"
        ;;
    *)
        good=0 last=3
        echo "no answer from mcp-ir (status $rc)"
        ;;
    esac
    left=$((end - $(now)))
    [ "$left" -gt "$pause" ] || break
    sleep "$pause"
done
echo "not healthy $looks times in a row within $limit s" >&2
exit "$last"
