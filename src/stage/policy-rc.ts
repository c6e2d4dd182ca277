// The script that stands in for `/usr/sbin/policy-rc.d` in a stage: it lets no service be touched, and writes down what was to be done.

/**
 * Asked as `policy-rc.d [--quiet] SERVICE ACTIONS [RUNLEVEL]`; 101 is "forbidden by policy" (invoke-rc.d(8), "policy-rc.d interface"). `--list` asks for
 * people. One line for each, tab between, is written at once: several may write.
 *
 * deb-systemd-invoke(1p) asks for each of its units, but ends with the first one that is forbidden: the others are read from its own words. It calls this
 * by a shell, which may have become this or not. Those of users (`--user`) have no manager here that could be told.
 */
export function policyScript(queue = '/var/lib/vml/queue'): string {
  return `#!/bin/sh
# Written by VML: within a stage no service is started or stopped; that is done after the commit.
while :; do
  case \${1-} in
    --list) exit 101 ;;
    --*) shift ;;
    *) break ;;
  esac
done
[ -n "\${1-}" ] || exit 101
vml_units_of() {
  { tr '\\0' '\\n' <"/proc/$1/cmdline"; } 2>/dev/null | {
    vml_found= vml_action=
    while read -r vml_word; do
      case $vml_found$vml_word in
        */deb-systemd-invoke) [ "$vml_found" ] || { vml_found=: && continue; } ;;
      esac
      case $vml_found$vml_word in
        :--user) exit 0 ;;
        :-*) ;;
        :*) if [ "$vml_action" ]; then printf '%s\\t%s\\n' "$vml_word" "$vml_action" >>${queue}; else vml_action=$vml_word; fi ;;
      esac
    done
    [ "$vml_action" ]
  }
}
vml_units_of "$PPID" && exit 101
if read -r vml_stat <"/proc/$PPID/stat"; then
  vml_stat=\${vml_stat##*) }
  vml_stat=\${vml_stat#* }
  vml_units_of "\${vml_stat%% *}" && exit 101
fi 2>/dev/null
printf '%s\\t%s\\n' "$1" "\${2-}" >>${queue}
exit 101
`
}
