#!/bin/bash
# A function in bash. Its payload's field "do" is a command; BODY is what it answers with.
api=$AWS_LAMBDA_RUNTIME_API
base=/2018-06-01/runtime
host=$api

call() { # method, path, body, one more header: the answer's HEAD and BODY
  exec 3<>"/dev/tcp/${api%:*}/${api#*:}" || exit 9
  printf '%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %s\r\nConnection: close\r\n%s\r\n%s' \
    "$1" "$base$2" "$host" "${#3}" "${4:+$4$'\r\n'}" "$3" >&3
  HEAD=""
  while IFS= read -r line <&3; do
    line=${line%$'\r'}
    [ -z "$line" ] && break
    HEAD+=$line$'\n'
  done
  BODY=$(cat <&3)
  exec 3>&-
}

while true; do
  call GET /invocation/next ""
  id=$(printf '%s' "$HEAD" | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  eval "$(printf '%s' "$BODY" | sed -n 's/.*"do": *"\([^"]*\)".*/\1/p')"
  call POST "/invocation/$id/response" "{\"pid\":$$,\"got\":${BODY:-null}}"
done
