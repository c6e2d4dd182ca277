// How an undo ends that was done, but not to the last path.

/** As `partial` of the table of failures. */
export const partialStatus = 3
