"""Bash scripts that hold an output in every context there is, nested at random."""

import random

OUTPUT = "$a.output"


def word(chance: random.Random, depth: int = 2) -> str:
    """A word with outputs in it."""
    simple = [
        OUTPUT,
        f"x{OUTPUT}",
        f'"{OUTPUT}"',
        f'"x {OUTPUT} y"',
        f"'{OUTPUT}'",
        f"$'x\\t{OUTPUT} y'",
        f"'x {OUTPUT}'",
    ]
    if depth == 0:
        return chance.choice(simple)
    inner = word(chance, depth - 1)
    return chance.choice(
        [
            *simple,
            f"$(printf %s {inner})",
            f'"$(printf %s {inner})"',
            f'"a $(printf %s "$(printf %s {inner})") b"',
            f"`printf %s {word(chance, 0)}`",
            f'"`printf %s {word(chance, 0)}`"',
            f"${{u:-{inner}}}",
            f'"${{u:-{OUTPUT}}}"',
            f'"${{u:-"{OUTPUT}"}}"',
            f'"${{HOME#{OUTPUT}}}"',
            f"$(case x in x) printf %s {inner} ;; esac)",
            f"$( (printf %s {inner}) )",
            f'"$(cat <<E\n{OUTPUT} "q"\nE\n)"',
            f"$(cat <(printf %s {inner}))",
            f'"it\'s {OUTPUT}"',
            f"'say \"'{inner}",
            f'"\\"{OUTPUT}\\""',
        ]
    )


def statement(chance: random.Random, depth: int = 2) -> str:
    """A command with outputs in it."""
    shown = f"printf '[%s]' {word(chance, depth)}"
    other = f"printf '[%s]' {word(chance, depth)}"
    return chance.choice(
        [
            shown,
            f"{shown} {word(chance, 1)} # it's {OUTPUT} \" `",
            f"v={word(chance, depth)}; printf '[%s]' \"$v\"",
            f'cat <<EOF\nit\'s "{OUTPUT}" $(printf %s {word(chance, 1)})\nEOF',
            f"cat <<'EOF'\nit's \"{OUTPUT}\" `x` $(y) \\ \\\\ $z $\nEOF",
            f"cat <<-\\EOF\n\tit's {OUTPUT}\n\tEOF",
            f'cat <<A - <<"B"\n{OUTPUT}\nA\n{OUTPUT} $x\nB',
            f"cat <<< {word(chance, 1)}",
            f"if true; then\n  {shown}\nelse {other}; fi",
            f"for i in {word(chance, 1)} b; do printf '<%s>' \"$i\"; done",
            f"for ((i = 0; i < 2; i++)); do {shown}; done",
            f"case {word(chance, 1)} in (a*) {shown} ;; *) {other} ;; esac",
            f"[[ {word(chance, 1)} == {word(chance, 0)} && -n {OUTPUT} ]] && {shown}",
            f"f() {{ printf '(%s)' \"$@\"; }}; f {word(chance, 1)}",
            f'x=({word(chance, 1)} b); printf \'<%s>\' "${{x[0]}}" $((1 << 2)) "$((1 + 2))"; {shown}',
            f"(( 1 + 2 )) && {shown} | cat",
            f"{{ {shown}; }} 2>/dev/null; ( {other} )",
            f"[ {word(chance, 0)} = b ] || {shown}",
            f'declare -A m; m[{OUTPUT}]=1; m[x]=2; printf \'<%s>\' "${{!m[@]}}" "${{m[x]}}"',
            f"while false; do :; done; ! false && {shown}",
        ]
    )


def script(chance: random.Random) -> str:
    """A script of a few commands."""
    return "\n".join(statement(chance) for _ in range(chance.randint(1, 3))) + "\n"


TOKENS = [
    *("'", '"', "`", "$(", ")", "${u:-", "${HOME#", "}", "$((", "((", "))", "$'", "\\", "\n", ";", " ", "#", "<<E\n"),
    *(
        "<<'E'\n",
        "\nE\n",
        "echo ",
        "[[ ",
        " ]]",
        "-eq ",
        "case x in x)",
        ";; esac",
        "a[",
        "]",
        "let ",
        "$[",
        "<(",
        "&&",
    ),
    *("declare -i n; n=", "test -v ", "printf -v ", "unset ", "if ", "then ", "fi ", "1", "x", "eval echo "),
]


def noise(chance: random.Random) -> str:
    """What need not be a script at all."""
    return "".join(chance.choice([*TOKENS, *[OUTPUT] * 12]) for _ in range(chance.randint(3, 14)))


COMPUTED = [
    f"declare -A x=([{OUTPUT}]=1)",
    f"x=(a b ['{OUTPUT}']=1)",
    f'x=([0]=1 ["{OUTPUT}"]=1)',
    f"x=(\n[{OUTPUT}]={OUTPUT})",
    f"declare -ai x=([1]={OUTPUT})",
    f"x=([1]={OUTPUT})",
    f"declare 'x=({OUTPUT})'",
    f'declare "x=({OUTPUT})"',
    f"declare -a x={OUTPUT}",
    f"declare -a 'x={OUTPUT}'",
    f"local x={OUTPUT}",
    f"f() {{ local -a x={OUTPUT}; }}; f",
    f"declare -A m; m={OUTPUT}; echo ${{m[x]}}",
    f"declare -a x; x={OUTPUT}",
    f"readonly -a x={OUTPUT}",
    f"printf -v 'x[{OUTPUT}]' 1",
    f"exec {{x}}<<<{OUTPUT}",
    f"[[ {OUTPUT} -eq 1 ]]",
    f'[[ 1 -lt "{OUTPUT}" ]]',
    f"[[ '{OUTPUT}' -gt 0 && x == x ]]",
    f"let {OUTPUT}",
    f"let 'x={OUTPUT}'",
    f'let "x = {OUTPUT}"',
    f"echo $(( {OUTPUT} + 1 ))",
    f"(( {OUTPUT} ))",
    f"echo $[{OUTPUT}]",
    f"echo ${{HOME:{OUTPUT}}}",
    f"echo ${{HOME:0:{OUTPUT}}}",
    f"x=(1); echo ${{x[{OUTPUT}]}}",
    f"x[{OUTPUT}]=1",
    f"declare -i n; n={OUTPUT}",
    f"declare -i n={OUTPUT}",
    f"local -i n; n='{OUTPUT}'",
    f"unset {OUTPUT}",
    f"[[ -v {OUTPUT} ]]",
    f"[ -v {OUTPUT} ]",
    f"test -v '{OUTPUT}'",
    f"printf -v {OUTPUT} x",
    f"declare {OUTPUT}",
    f"read {OUTPUT} <<< x",
    f"for ((i = {OUTPUT}; i < 1; i++)); do :; done",
    f"typeset -a {OUTPUT}=3",
    f"x=1; [[ $x -eq {OUTPUT} ]]",
    f"if ! [[ ( {OUTPUT} -le 2 ) ]]; then :; fi",
    f'x["{OUTPUT}"]=1',
    f"readonly -a '{OUTPUT}'",
    f"bash -c 'echo {OUTPUT}'",
    f'bash -c "echo {OUTPUT}"',
    f"eval echo {OUTPUT}",
    f'eval "x={OUTPUT}"',
    f"eval 'x={OUTPUT}'",
    f"echo x | xargs -I% sh -c 'echo % {OUTPUT}'",
    f"trap 'echo {OUTPUT}' EXIT",
    f"case {OUTPUT} in [{OUTPUT}]) ;; esac",
    f"echo x{{{OUTPUT},b}}",
    f"cat <<{OUTPUT}\nx\n",
    f"echo \\{OUTPUT}",
    f'"\\{OUTPUT}"',
    f"mapfile {OUTPUT} < /dev/null",
    f"getopts ab {OUTPUT} -a",
    f"\\let {OUTPUT}",
    f"command let x={OUTPUT}",
    f"builtin unset {OUTPUT}",
    f"true && unset {OUTPUT}",
    f"x=$(( {OUTPUT} )) y",
    f"echo ${{x[{OUTPUT}]:-1}}",
    f"export {OUTPUT}",
    f"echo ${{#x[{OUTPUT}]}}",
    f"echo ${{{OUTPUT}}}",
    f"echo ${{!{OUTPUT}}}",
    f"wait -n -p {OUTPUT}",
    f"[[ x -nt y || {OUTPUT} -ne 0 ]]",
    f"[ 1 -eq {OUTPUT} ]",
    f"time let {OUTPUT}",
    f"declare -n r={OUTPUT}; r=1",
    f"exec {{fd[{OUTPUT}]}}</dev/null",
    f"! test -v {OUTPUT}",
    f"(let {OUTPUT})",
    f"x=$(let {OUTPUT})",
    f"`let {OUTPUT}`",
    f"[[ x =~ y && {OUTPUT} -ge 1 ]]",
    f"[[\n{OUTPUT}\n-eq 1 ]]",
    f"[[ {OUTPUT}\t-eq 1 ]]",
    f"printf '%d' {OUTPUT}",
    f"ulimit -n {OUTPUT}",
    f"coproc let {OUTPUT}",
    f"x+=([{OUTPUT}]=1)",
    f"x=([{OUTPUT}]=1)",
    f"declare -a x=([{OUTPUT}]=1)",
    f"declare -ai x=({OUTPUT})",
    f"if let {OUTPUT}; then :; fi",
]

HARMLESS = [
    "",
    "word",
    "two words",
    "it's",
    "a-b_c.d/e:f@g",
    "a, b; c!",
    "3",
    "-7",
    "x\ny",
    "tab\there",
    "ünï 漢",
    "* [a] ?",
    "(x) | y & z <k>",
]
HOSTILE = [
    "$(touch CANARY)",
    "`touch CANARY`",
    "'; touch CANARY; '",
    '"; touch CANARY; "',
    "'\ntouch CANARY\n'",
    "x\nE\ntouch CANARY\n",
    "x\nEOF\ntouch CANARY #",
    "\nA\ntouch CANARY\nB\ntouch CANARY\n",
    "a[$(touch CANARY)]",
    "a[`touch CANARY`]=1",
    "1+a[$(touch CANARY)]",
    "}; touch CANARY; ${",
    ")); touch CANARY; ((",
    "); touch CANARY; (",
    "$'\\'; touch CANARY; '",
    "\\'; touch CANARY #",
    '\\"; touch CANARY; #\\',
    "'\"'\"'; touch CANARY; echo '",
    "${u:=$(touch CANARY)}",
    "<(touch CANARY)",
    ";; esac; touch CANARY; case x in x)",
    "' ]]; touch CANARY; [[ '",
    "touch CANARY",
    "\\\n; touch CANARY\n",
    "'$(touch CANARY)'",
    '"$(touch CANARY)"',
    "\\$(touch CANARY)",
    "ARGUMENTS",
    "x[ARGUMENTS]",
    "HOME:=$(touch CANARY)",
    "@P}$(touch CANARY)",
    "'`touch CANARY`",
    "\t\nEOF\n\ttouch CANARY",
    "/*$(touch CANARY)*/",
    "E",
    "EOF",
    "0,a[$(touch CANARY)]",
    "a]+b[$(touch CANARY)",
    "x'$(touch CANARY)'y\"`touch CANARY`\"",
    "|touch CANARY",
    "&touch CANARY&",
    "> CANARY",
    ">CANARY",
    "x -fprint CANARY",
]
