// A real systemd: commits cut at many points and mended before services start, a watch that survives it, timers, services once, no trace. In namespaces.
import { startRebootedChroot } from '../rebooted-chroot.ts'
import { testSystemd } from '../systemd-steps.ts'

testSystemd(startRebootedChroot, { files: 2000, delays: [0, 0.1, 0.3] })
