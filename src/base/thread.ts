// Starts worker threads that find compiled code where this thread finds it.
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * Node gives a new thread no compile cache: it would strip and compile every module again, which takes three times as long
 * as all else about its start. `module` is a file URL.
 */
export function startThread(module: URL, options: Omit<WorkerOptions, 'eval'> = {}): Worker {
  const folder = getCompileCacheDir()
  // The folder that Node names is one below the one that it is given.
  const cache =
    folder === undefined
      ? ''
      : `require('node:module').enableCompileCache(${JSON.stringify(dirname(folder))});`
  // What is thrown while the module loads becomes the thread's `error`.
  return new Worker(`${cache}import(${JSON.stringify(module.href)})`, { ...options, eval: true })
}
