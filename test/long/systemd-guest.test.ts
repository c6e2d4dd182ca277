// The same on a machine of its own, emulated: its kernel is reset, and its disk loses what was not flushed. A quarter of an hour for each start on a busy computer.
import { startRebootedGuest } from '../rebooted-guest.ts'
import { testSystemd } from '../systemd-steps.ts'

testSystemd(startRebootedGuest, { files: 1000, delays: [0, 0.5] })
