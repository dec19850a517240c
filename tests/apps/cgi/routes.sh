#!/bin/sh
# The routes of the test programs as a CGI program, for Apache. /bytes is not here: Apache serves files there.
route=${PATH_INFO#/}
argument=${route#*/}
route=${route%%/*}

answer() {
    printf 'Status: %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n%s' "$1" "${#2}" "$2"
}

case $route in
hello) answer 200 'hello.' ;;
echo) answer 200 "$(wc -c)" ;;
chunked)
    printf 'Content-Type: text/plain\r\n\r\n'
    head -c "$argument" /dev/zero
    ;;
status)
    case $argument in
    204 | 304) printf 'Status: %s\r\n\r\n' "$argument" ;;
    *) answer "$argument" 'status.' ;;
    esac
    ;;
slow)
    sleep "$(printf '%d.%03d' $((argument / 1000)) $((argument % 1000)))"
    answer 200 'slow.'
    ;;
*) answer 404 'none.' ;;
esac
