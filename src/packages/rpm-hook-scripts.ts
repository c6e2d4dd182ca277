// The texts of what stands between dnf, rpm and VML: a plugin for dnf, a macro for rpm, and a program for sh that both call.

/** Program files of the hooks, from the root of the machine. */
export const rpmHookFolder = '/usr/lib/vml'
/** How VML is started; written for all package managers alike. */
export const programFile = `${rpmHookFolder}/program`
export const rpmHookFile = `${rpmHookFolder}/rpm-hook`
/** The first folder of the search path that scripts of packages have in a stage: its `systemctl` is that of systemctl-queue.ts. */
export const servicesFolder = `${rpmHookFolder}/services`

/**
 * What `tx hook dnf-begin` ends with when nothing may be changed now: dnf then stops before it has begun. Any other failure lets dnf and rpm
 * go on, unrecorded and said so by VML, since a broken VML is no reason to leave a hole unmended.
 */
export const refusedStatus = 99

export const hookMark = 'Written by "vml tx enable"; "vml tx disable" removes it.'

/** Of a dnf that was begun anew, so that it is not once more: `1`, or a file that it makes when it begins to change packages. */
export const dnfAgainVariable = 'VML_DNF_AGAIN'

/** Whether a file is one of ours. */
export function isRpmHookText(text: string): boolean {
  return text.split('\n', 3).some((line) => line.endsWith(hookMark))
}

/**
 * rpm has no hooks but for plugins in C and for scripts of packages, and no script runs before the first file of an installation is
 * there. What it does do whenever it begins is to expand this macro, which is for lists of shared folders and empty by default: a
 * command in it runs, and rpm waits for it (rpm, docs/manual/macros.md, "Shell expansion").
 */
export const hookMacro = '_netsharedpath'
export const rpmMacros = `# ${hookMark}
%${hookMacro} %([ ! -x ${rpmHookFile} ] || exec ${rpmHookFile} rpm-begin >/dev/null)
`

/**
 * \`resolved\` comes when dnf knows what it will do, and before it asks, downloads or locks: there the whole command is begun anew in a
 * stage. Where that cannot be, \`pre_transaction\` and \`transaction\` stand around rpm's run on the live system.
 *
 * In a stage rpm is told to let scripts find our systemctl first. One that names it by its path would get past: it is for the machine itself. To mount ours on the
 * real one instead would keep rpm from replacing that, and bring ours into whatever is made of the system's programs there, such as a boot image.
 */
export const dnfPlugin = `# ${hookMark}
# Has what dnf changes recorded by VML. Nothing that is wrong here, or missing, keeps dnf from working: a refusal of VML's alone does.
import atexit
import os
import re
import subprocess
import sys

import dnf
import rpm

HOOK = '${rpmHookFile}'
REFUSED = ${refusedStatus}
# Of a dnf that was begun anew, so that it is not once more; a file is made when it goes on from questions to deeds.
AGAIN = '${dnfAgainVariable}'
INSIDE = '/var/lib/vml/inside'
SERVICES = '${servicesFolder}'
# What is said of services past the search path: systemctl by its path, and what is for old init scripts, which names it so.
ASKS = rb'(?:--now\\b|(?<![\\w-])(?:stop|(?:try-|cond|force-)?(?:re)?(?:start|load))\\b)'
BY_PATH = re.compile(
    rb'/bin/systemctl\\b[^\\n]*?' + ASKS
    + rb'|(?:^|[;&|(]|\\b(?:then|do|else))[ \\t]*(?:(?:/usr)?/sbin/service[ \\t]|service[ \\t]|/etc/(?:rc\\.d/)?init\\.d/)[^\\n]*?' + ASKS,
    re.MULTILINE,
)
SCRIPTS = [
    getattr(rpm, 'RPMTAG_' + name)
    for name in ('PRETRANS', 'PREIN', 'POSTIN', 'PREUN', 'POSTUN', 'POSTTRANS', 'PREUNTRANS', 'POSTUNTRANS')
    if hasattr(rpm, 'RPMTAG_' + name)
]


def reaches_past(header):
    scripts = (header[tag] or '' for tag in SCRIPTS)
    return any(
        BY_PATH.search(script if isinstance(script, bytes) else script.encode('utf-8', 'surrogateescape'))
        for script in scripts
    )


class Vml(dnf.Plugin):
    name = 'vml'

    def __init__(self, base, cli):
        super().__init__(base, cli)
        self.base = base
        self.cli = cli
        self.begun = False

    def changes_this_system(self):
        conf = self.base.conf
        return (
            os.geteuid() == 0
            and os.access(HOOK, os.X_OK)
            and conf.installroot == '/'
            and not getattr(conf, 'downloadonly', False)
            and not conf.assumeno
            and 'test' not in conf.tsflags
            and self.base.transaction is not None
            and len(self.base.transaction) > 0
        )

    def call(self, *words):
        try:
            return subprocess.call((HOOK,) + words, stdin=subprocess.DEVNULL)
        except OSError:
            return 1

    def is_plain_command(self):
        # What is typed into its own shell would be lost; what is no program of dnf's has no words to be begun with.
        if self.cli is None or os.path.basename(sys.argv[0]) not in ('dnf', 'dnf-3', 'yum'):
            return False
        return getattr(self.cli.command, '_basecmd', None) != 'shell'

    def resolved(self):
        if AGAIN in os.environ or not self.is_plain_command() or not self.changes_this_system():
            return
        if self.call('dnf-staged') != 0:
            return
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execve(HOOK, [HOOK, 'dnf-again', *sys.argv], dict(os.environ, **{AGAIN: '1'}))
        except OSError:
            pass

    def attempt(self):
        try:
            if os.environ.get(AGAIN, '').startswith('/'):
                open(os.environ[AGAIN], 'a').close()
        except OSError:
            pass

    def headers(self):
        database = rpm.TransactionSet()
        # Signatures were checked by dnf.
        database.setVSFlags(-1)
        for package in self.base.transaction.install_set:
            with open(package.localPkg()) as file:
                yield database.hdrFromFdno(file.fileno())
        for package in self.base.transaction.remove_set:
            yield from database.dbMatch('name', package.name)

    def queue_services(self):
        # Where systemd does not run there is nobody to be asked.
        if not os.path.isdir('/run/systemd/system') or not os.access(SERVICES + '/systemctl', os.X_OK):
            return
        try:
            past = next((header['name'] for header in self.headers() if reaches_past(header)), None)
        except (OSError, rpm.error):
            past = None
        if past is not None:
            raise dnf.exceptions.Error(
                'vml: a script of %s asks systemctl by its path to change what runs, which a stage cannot put off' % past
            )
        rpm.addMacro('_install_script_path', SERVICES + ':' + rpm.expandMacro('%{_install_script_path}'))
        # Scripts in Lua run in this process, with its own path.
        os.environ['PATH'] = SERVICES + ':' + os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')

    def pre_transaction(self):
        if not self.changes_this_system():
            return
        self.attempt()
        if os.path.exists(INSIDE):
            self.queue_services()
            return
        status = self.call('dnf-begin', str(os.getpid()))
        if status == REFUSED:
            raise dnf.exceptions.Error('vml: nothing may be changed now')
        if status == 0:
            self.begun = True
            # dnf says nothing of a run that failed.
            atexit.register(self.end)

    def transaction(self):
        self.end()

    def end(self):
        if self.begun:
            self.begun = False
            self.call('dnf-end', str(os.getpid()))
`

/**
 * Started with each rpm, queries included: it looks at the words of that rpm by itself and ends at once where they change nothing. What
 * it starts must not hold rpm's pipe, or rpm would wait for it.
 */
export const rpmHookScript = `#!/bin/sh
# ${hookMark}
# Called by rpm and dnf. Answers at once what needs no VML; where VML is gone or broken, rpm and dnf go on without it.
program=${programFile} inside=/var/lib/vml/inside verb=$1 words=
shift
case $verb in
  # In a stage already, or nobody there to make one: dnf goes on as it is. A word is asked for, since a program of no bytes succeeds at
  # everything, and dnf would end with a success that was none.
  dnf-staged) [ ! -e $inside ] && [ -x $program ] && [ "$($program tx hook dnf-staged)" = staged ] || exit 1; exit 0 ;;
  dnf-again)
    # Nobody there any more: dnf begins anew all the same, and records nothing.
    [ -x $program ] || exec "$@"
    exec $program tx hook dnf-run -- "$@"
    ;;
  dnf-begin|dnf-end) [ ! -e $inside ] && [ -x $program ] || exit 1; exec $program tx hook $verb "$@" ;;
  rpm-begin) ;;
  *) exit 1 ;;
esac

# As root, and called by rpm itself or dnf5: dnf and others that use its library have their own ways.
{ read -r name <"/proc/$PPID/comm" && read -r words <"/proc/$PPID/cmdline"; } 2>/dev/null || [ "$words" ] || exit 0
[ -x $program ] || exit 0
changes= previous=
case $name in
  # Most of what rpm is started for is a question, whose first word says so: here without the zeros between them, and with no program started.
  rpm) case $words in rpm-q*|rpm-V*|rpm--query*|rpm--eval*|/usr/bin/rpm-q*) exit 0 ;; esac ;;
  # dnf5 has rpm begin for each question, too. When it goes on to deeds it has this lock (libdnf5, Transaction::run).
  dnf5|dnf|yum|microdnf)
    case $(readlink "/proc/$PPID/exe") in */dnf5) ;; *) exit 0 ;; esac
    ls -l "/proc/$PPID/fd" 2>/dev/null | grep -q '/rpmtransaction\\.lock$' || exit 0
    ! tr '\\0' '\\n' <"/proc/$PPID/cmdline" | grep -q '^--installroot' || exit 0
    changes=1 ;;
  *) exit 0 ;;
esac

# Words without their arguments: -i, -U, -F and -e begin a change unless another word makes them part of a question.
old_ifs=$IFS
IFS='
'
set -f
[ "$changes" ] || for word in $(tr '\\0' '\\n' <"/proc/$PPID/cmdline"); do
  # zypper names the root and the database that everybody has; others are not this system's.
  case $previous=$word in
    --root=/|-r=/|--dbpath=/var/lib/rpm|--dbpath=/usr/lib/sysimage/rpm) previous= ; continue ;;
    --root=*|-r=*|--dbpath=*) exit 0 ;;
  esac
  previous=$word
  case $word in
    --root=/|--root|-r|--dbpath|--dbpath=/var/lib/rpm|--dbpath=/usr/lib/sysimage/rpm) ;;
    --root=*|--dbpath=*) exit 0 ;;
    --test|--query|--verify|--checksig|--eval|--import|--initdb|--rebuilddb|--querytags|--showrc|--version|--help) exit 0 ;;
    --install|--upgrade|--freshen|--erase|--reinstall|--restore|--setperms|--setugids|--setcaps) changes=1 ;;
    --*) ;;
    -*[qVKE]*) exit 0 ;;
    -*[iUFe]*) changes=1 ;;
  esac
done
IFS=$old_ifs
[ "$changes" ] && [ "$(id -u)" = 0 ] || exit 0
if [ -e $inside ]; then
  # dnf's plugin has them put off; nothing does for rpm by itself and dnf5, and systemctl lets be in a stage what it is asked for.
  [ ! -d /run/systemd/system ] || echo 'vml: In a stage rpm and dnf5 restart no services: that is left to you' >&2
  exit 0
fi

$program tx hook rpm-begin "$PPID" </dev/null || exit 0
# rpm says nothing when it has done. The number of a process is used anew only after some ten thousand others.
setsid sh -c '
  while [ -d "/proc/$1" ]; do sleep 0.2; done
  exec "$2" tx hook rpm-end "$1"
' sh "$PPID" $program </dev/null >/dev/null 2>&1 &
exit 0
`
