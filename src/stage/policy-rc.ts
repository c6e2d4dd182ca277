// The script that stands in for `/usr/sbin/policy-rc.d` in a stage: it lets no service be touched, and writes down what was to be done.

/**
 * Asked as `policy-rc.d [--quiet] SERVICE ACTIONS [RUNLEVEL]`; 101 is "forbidden by policy" (invoke-rc.d(8), "policy-rc.d interface"). `--list` asks for
 * people. One line for each, tab between, is written at once: several may write.
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
[ -z "\${1-}" ] || printf '%s\\t%s\\n' "$1" "\${2-}" >>${queue}
exit 101
`
}
