// What other tools put beside our hooks on Debian 12: their lines of apt's configuration, and programs in place of theirs that write down
// what they are called for.

interface HookFile {
  readonly path: string
  readonly content: string
  readonly mode: string
}

const logged = (what: string) => `#!/bin/sh\necho ${what} >>/var/log/other-hooks\n`

export const otherHooks: readonly HookFile[] = [
  {
    // etckeeper 1.18.20
    path: '/etc/apt/apt.conf.d/05etckeeper',
    mode: '644',
    content:
      'DPkg::Pre-Invoke       { "if [ -x /usr/bin/etckeeper ]; then etckeeper pre-install; fi"; };\nDPkg::Post-Invoke      { "if [ -x /usr/bin/etckeeper ]; then etckeeper post-install; fi"; };\n',
  },
  { path: '/usr/bin/etckeeper', mode: '755', content: logged('etckeeper $1') },
  {
    // apt-listchanges 3.24
    path: '/etc/apt/apt.conf.d/20listchanges',
    mode: '644',
    content:
      'DPkg::Pre-Install-Pkgs { "/usr/bin/apt-listchanges --apt || test $? -lt 10"; };\nDPkg::Tools::Options::/usr/bin/apt-listchanges::Version "2";\nDPkg::Tools::Options::/usr/bin/apt-listchanges::InfoFD "20";\n',
  },
  {
    path: '/usr/bin/apt-listchanges',
    mode: '755',
    content:
      '#!/usr/bin/perl\nopen(my $in, "<&=", $ENV{APT_HOOK_INFO_FD}) or die; my @lines = <$in>; my @joe = grep { /^joe / } @lines;\nopen(my $out, ">>", "/var/log/other-hooks"); print $out "listchanges ", (split / /, $joe[0])[0], "\\n";\n',
  },
  {
    // needrestart 3.6
    path: '/etc/apt/apt.conf.d/99needrestart',
    mode: '644',
    content:
      'DPkg::Post-Invoke {"test -x /usr/lib/needrestart/apt-pinvoke && /usr/lib/needrestart/apt-pinvoke || true"; };\n',
  },
  { path: '/usr/lib/needrestart/apt-pinvoke', mode: '755', content: logged('needrestart') },
  {
    // snapper 0.10.4
    path: '/etc/apt/apt.conf.d/80snapper',
    mode: '644',
    content:
      'DPkg::Pre-Invoke { "if [ -x /usr/bin/snapper ]; then snapper pre; fi"; };\nDPkg::Post-Invoke { "if [ -x /usr/bin/snapper ]; then snapper post; fi"; };\n',
  },
  { path: '/usr/bin/snapper', mode: '755', content: logged('snapper $1') },
]
