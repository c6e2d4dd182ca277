// `vml completion bash|zsh|fish`: a function for the shell that asks vml itself what may follow.
import { VmlError } from '../../base/failure.ts'
import { defineCommand } from '../command.ts'

const shells = ['bash', 'zsh', 'fish'] as const

export const command = defineCommand({
  description:
    'Prints the completion function of a shell: verbs, options, entries with their titles, machines, tags and paths in entries.',
  operands: [{ name: 'SHELL', description: 'bash, zsh or fish', required: true, complete: shells }],
  options: {},
  examples: [
    { line: 'source <(vml completion bash)', does: 'for this bash; put the line into ~/.bashrc to keep it' },
    { line: 'vml completion zsh > ~/.zfunc/_vml', does: 'for zsh, in a folder of its fpath' },
    { line: 'vml completion fish > ~/.config/fish/completions/vml.fish', does: 'for fish' },
  ],
  run: ({ out }, { operands: [name = ''] }) => {
    const shell = shells.find((known) => known === name)
    if (!shell) throw new VmlError('usage', `Cannot complete for "${name}": known are ${shells.join(', ')}`)
    out.line(scripts[shell].trimEnd())
    out.document({ schema: 1, shell, script: scripts[shell] })
    return Promise.resolve()
  },
})

// bash cuts words at `:`, `=` and `@` too: the words are taken from the line itself, and what bash keeps in front of
// the cursor is cut off the answers again.
const bash = String.raw`
_vml() {
  local line=${'${COMP_LINE:0:COMP_POINT}'} word IFS=$' \t\n'
  local -a typed
  read -ra typed <<<"$line"
  [[ $line != *[[:space:]] ]] || typed+=('')
  local current=${'${typed[${#typed[@]}-1]}'} kept=${'${COMP_WORDS[COMP_CWORD]}'}
  [[ $kept != [:=@] ]] || kept=
  local prefix=${'${current%"$kept"}'}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    COMPREPLY+=("${'${word#"$prefix"}'}")
  done < <("${'${COMP_WORDS[0]}'}" __complete -- "${'${typed[@]:1}'}" 2>/dev/null)
  [[ ${'${#COMPREPLY[@]}'} != 1 || ${'${COMPREPLY[0]}'} != */ ]] || compopt -o nospace
}
complete -o nosort -F _vml vml
`

const zsh = String.raw`
#compdef vml
_vml() {
  local line word
  local -a values about folders
  for line in "${'${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}'}"; do
    word=${"${line%%$'\\t'*}"}
    [[ -n $word ]] || continue
    if [[ $word == */ ]]; then
      folders+=("$word")
    else
      values+=("$word")
      about+=("${"${line/$'\\t'/  }"}")
    fi
  done
  (( $#values )) && compadd -V entries -l -d about -a values
  (( $#folders )) && compadd -S '' -a folders
}
if [[ $funcstack[1] == _vml ]]; then _vml "$@"; else compdef _vml vml; fi
`

const fish = String.raw`
function __vml_complete
    set -l typed (commandline -opc) (commandline -ct)
    $typed[1] __complete -- $typed[2..-1] 2>/dev/null
end
complete -c vml -f -k -a '(__vml_complete)'
`

const scripts: Readonly<Record<(typeof shells)[number], string>> = {
  bash: bash.trimStart(),
  zsh: zsh.trimStart(),
  fish: fish.trimStart(),
}
