set -o pipefail
export AWS_PAGER=
stopped= soft= give_up= steps='{}' item=null out=null
log=by-hand-$(date +%Y%m%dT%H%M%S).log
for program in aws jq mysql; do
  command -v "$program" >/dev/null || echo "STOP: $program is not installed here" >&2
done

# stop WHY: from here on nothing is changed any more. When you are sure: stopped=
stop() {
  if [ -n "$soft" ]; then echo "on without it: $*" >&2; return 1; fi
  stopped=${stopped:-$*}
  echo "STOP: $*" >&2
  return 1
}

# now FILTER: its value. $inputs and $inventory are above; $steps is what was seen so far, by step.
now() {
  printf '{"inputs":%s,"inventory":%s,"steps":%s,"item":%s,"out":%s}' \
    "$inputs" "$inventory" "$steps" "$item" "$out" | jq -rc '
    # what expressions need of jq
    .inputs as $inputs | .inventory as $inventory | .steps as $steps | .item as $item | .out as $out | '"$1"
}

# each FILTER: the items of a list as so many words; of an empty one, a word that is never run.
each() {
  local words
  words=$(now "$1 | .[]") && [ -n "$words" ] || words='(nothing)'
  echo "$words"
}

# holds FILTER: is it true?
holds() {
  case $(now "$1") in
    true) ;;
    false) return 1 ;;
    *) stop "it cannot be told whether $1" ;;
  esac
}

# keep STEP JSON: from here on it is $steps.STEP.
keep() {
  [ -n "$2" ] || { stop "$1: it cannot be worked out"; return 1; }
  steps=$(printf '%s\n%s' "$steps" "$2" | jq -sc --arg step "$1" '.[0] + { ($step): .[1] }') || stop "$1: no value"
  printf '%s: %.300s\n' "$1" "$2"
}

# look STEP HOW…: looks, three times should it fail, and keeps what is seen.
look() {
  local step=$1 seen try
  for try in 1 2 3; do
    if seen=$("${@:2}") && [ -n "$seen" ]; then keep "$step" "$seen"; return; fi
    [ "$try" = 3 ] || sleep 2
  done
  stop "$step: it could not be looked at: ${*:2}"
}

# check STEP FILTER WHY: a guard. When it is not true, stop, and why.
check() {
  if holds "$2"; then echo "$1: ok"; else stop "$1: $3"; fi
}

# wait_for STEP FILTER TIMEOUT EVERY FOR HOW…: looks every so many seconds until the filter on $out has been true for so long. While
# it is true, the timeout waits.
wait_for() {
  local step=$1 filter=$2 every=$4 for=$5 since= at end
  end=$(($(date +%s) + $3))
  while [ -z "$stopped" ] && look "$step" "${@:6}"; do
    out=$(now "\$steps.$step | tojson") at=$(date +%s)
    if [ -n "$give_up" ] && holds "$give_up"; then return 1; fi
    if holds "$filter"; then since=${since:-$at}; else since=; fi
    if [ -n "$since" ] && ((at - since >= for)); then return 0; fi
    if [ -z "$since" ] && ((at >= end)); then return 1; fi
    sleep "$every"
  done
  return 1
}

# run COMMAND…: runs it, unless a value in it is empty, and keeps a line of it in $log.
run() {
  local word
  for word; do
    [ -n "$word" ] && [ "$word" != '(nothing)' ] || { stop "a value is empty in: $*"; return 1; }
  done
  { printf '%s ' "$(date -u +%FT%TZ)"; printf '%q ' "$@"; echo; } | tee -a "$log"
  "$@"
}

# change COMMAND…: the same, unless something said stop.
change() {
  if [ -n "$stopped" ]; then echo "not done, because of: $stopped" >&2; return 1; fi
  run "$@" || stop "it failed, or its answer was lost: $*. Look at what is so now before you repeat it."
}

# back STEP FILTER COMMAND…: remembers, where the filter holds, what takes the next change of that step back.
back_steps=() back_commands=()
back() {
  if holds "$2"; then back_steps+=("$1") back_commands+=("$(printf '%q ' "${@:3}")"); fi
}

# put_back [STEP…]: takes back what was remembered, the last first; of these steps, or everything.
put_back() {
  local n
  for ((n = ${#back_steps[@]} - 1; n >= 0; n--)); do
    [[ $# = 0 || " $* " = *" ${back_steps[n]} "* ]] && [ -n "${back_commands[n]}" ] || continue
    if eval "run ${back_commands[n]}"; then back_commands[n]=; else stop "it could not be taken back: ${back_commands[n]}"; fi
  done
}

# enter FILTER, leave STEP: a runbook within a runbook has inputs and steps of its own.
outside=()
enter() {
  local its
  its=$(now "$1 | tojson") || { stop "what $1 is, is not known"; its=null; }
  outside+=("$inputs" "$steps")
  inputs=$its steps='{}'
}
leave() {
  local inside=$steps n=${#outside[@]}
  inputs=${outside[n - 2]} steps=${outside[n - 1]}
  outside=("${outside[@]:0:n - 2}")
  keep "$1" "$inside"
}

# mysql, with the password of its --user, and nothing to read from. Two answers of ProxySQL are no failures: it never answers a restart,
# the connection is lost (2013); and it refuses to resume what is not paused.
mysql() {
  local word before= user= words=() fine= said
  for word; do
    [ "$before" != --user ] || user=$word
    [ "$word" = --password ] || words+=("$word")
    before=$word
  done
  set -- --connect-timeout=3 "${words[@]}"
  case $before in
    'PROXYSQL RESTART') fine=2013 ;;
    'PROXYSQL RESUME') fine='is not paused' ;;
  esac
  if [ -z "$fine" ]; then
    MYSQL_PWD=$(password "$user") command mysql "$@" </dev/null
  elif ! said=$(MYSQL_PWD=$(password "$user") command mysql "$@" </dev/null 2>&1) && [[ $said != *"$fine"* ]]; then
    echo "$said" >&2
    return 1
  fi
}
