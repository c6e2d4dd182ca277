// The zone of this computer, for rules that count hours and days.
import type { Zone } from '../model/retention.ts'

export const localZone: Zone = (seconds) => -new Date(seconds * 1000).getTimezoneOffset() * 60
