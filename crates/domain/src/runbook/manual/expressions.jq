def size: if . == null then error("nothing is known of it") else length end;
def within($list): . as $it | if ($list | type) == "object" then $list | has($it) else any($list[]; . == $it) end;
def plain: if type == "string" then . else tojson end;
def trunc: if . < 0 then ceil else floor end;
def distinct: reduce .[] as $it ([]; if any(.[]; . == $it) then . else . + [$it] end);
