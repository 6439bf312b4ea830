# Starts Postgres, and stops it when its last user is gone, whatever way that user went.
#
# $1 folder of the programs   $2 name of the cluster   (the current folder is the server's folder)
#
# Every user holds the write end of `users` open. Reading ends when the last of them is gone, because the kernel closes
# what a process had open, also after kill -9. A word read is a process that wants to join; the answer tells it that it
# is in. Whoever writes after the reading has ended gets no answer but a broken pipe, and starts afresh.
echo $$ >guardian.pid
exec 3<users
while IFS= read -r word <&3; do
    [ -n "$word" ] || continue
    if "$1/pg_ctl" status -D "$2" >/dev/null 2>&1 3<&- ||
        "$1/pg_ctl" start -w -t 100 -D "$2" -l log >/dev/null 2>&1 3<&-; then
        echo "ready $word" >answer
    else
        echo "failed $word" >answer
    fi
done
exec 3<&-
"$1/pg_ctl" stop -m fast -w -t 100 -D "$2" >/dev/null 2>&1
