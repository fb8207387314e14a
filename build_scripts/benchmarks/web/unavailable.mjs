/** This engine cannot do this workload; the message says why, in a phrase for the table. */
export class Unavailable extends Error {}
