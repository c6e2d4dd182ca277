// All lanes of a writer that run in other threads: started together, with one table of blobs for all.
import type { BlobIndex } from './blob-index.ts'
import { type LaneFeed, openLaneFeed } from './lane-feed.ts'
import type { LaneThread } from './lane-thread.ts'

/** Room in the shared table where nobody said how much will come. */
const blobsExpected = 256 * 1024

export interface Crew {
  /** Threads there may be. */
  readonly size: number
  readonly started: boolean
  /** Starts them, with room for so many further blobs; to be called while nothing is under way. */
  expect(blobs: number): Promise<void>
  /** Starts them where they are not. */
  leastBusy(): Promise<LaneFeed>
  leastBusyThread(): Promise<LaneThread>
  flush(): Promise<void>
  counts(): readonly LaneThread['counts'][]
  end(): Promise<void>
}

/** Threads are started, and the table is shared with them, when there is something to do for them. */
export function openCrew(options: {
  readonly size: number
  readonly table: BlobIndex
  readonly start: () => LaneThread
  readonly onFailure: (error: unknown) => void
}): Crew {
  const { table } = options
  let members: { readonly thread: LaneThread; readonly feed: LaneFeed }[] = []
  /** Of threads that have ended. */
  const ended: LaneThread['counts'][] = []
  let room = 0

  const drain = async () => {
    for (const { feed } of members) await feed.drain()
  }
  const expect = async (blobs: number) => {
    if (members.length > 0 && blobs <= room) return
    await drain()
    if (members.length > 0) table.endSharing()
    else {
      members = Array.from({ length: options.size }, () => {
        const thread = options.start()
        return { thread, feed: openLaneFeed(thread, options.onFailure) }
      })
    }
    room = Math.max(blobs, blobsExpected)
    const shared = table.share(room)
    await Promise.all(members.map(async ({ thread }) => await thread.setTable(shared)))
  }
  const least = async (load: (member: (typeof members)[number]) => number) => {
    if (members.length === 0) await expect(blobsExpected)
    const [first, ...others] = members
    if (!first) throw new Error('No lane was started')
    return others.reduce((best, member) => (load(member) < load(best) ? member : best), first)
  }
  return {
    size: options.size,
    get started() {
      return members.length > 0
    },
    expect,
    leastBusy: async () => (await least(({ feed }) => feed.bytesPending)).feed,
    leastBusyThread: async () => (await least(({ thread }) => thread.pending)).thread,
    async flush() {
      await drain()
      await Promise.all(members.map(async ({ thread }) => await thread.flush()))
    },
    counts: () => [...ended, ...members.map(({ thread }) => thread.counts)],
    async end() {
      await Promise.all(members.map(async ({ thread }) => await thread.end()))
      if (members.length > 0) table.endSharing()
      ended.push(...members.map(({ thread }) => thread.counts))
      members = []
    },
  }
}
