/** A mechanism taken out of a copy of the tree, and the test that has to notice. */
export type Mutation = {
  mechanism: string
  file: string
  /** Occurs once in the file. */
  code: string
  without: string
  /** The file and the name of the test that fails without the mechanism. */
  noticedBy: { file: string; test: string }
  /** Another test of that file, which does not need the mechanism: the copy works. */
  bystander: string
}

export const mutations: Mutation[] = [
  {
    mechanism: 'the insertion into the inbox',
    file: 'src/platform/messaging/inbox.ts',
    code: `const rows = await run(insertRows, [
    consumer,
    \`{\${messages.map(({ id }) => id).join(',')}}\`,
    textArray(messages.map(({ correlationId }) => correlationId)),
  ])
  return new Set(rows.map((row) => String(row['message_id'])))`,
    without: 'return new Set(messages.map(({ id }) => id))',
    noticedBy: {
      file: 'src/platform/messaging/consumer.int.test.ts',
      test: 'a batch that comes again changes nothing, whole or in part, in one batch or twice at once',
    },
    bystander: 'one message is handled by each consumer that reads it',
  },
  {
    mechanism: 'the order of keys',
    file: 'src/platform/messaging/key-order.ts',
    code: `else if (sequence !== undefined && !isNext) hold('waiting', 'gap')`,
    without: '',
    noticedBy: {
      file: 'src/platform/messaging/key-order.int.test.ts',
      test: 'a message that comes before its time waits for the missing one, and follows it',
    },
    bystander: 'a message that is parked holds up its own key and no other',
  },
  {
    mechanism: 'the accusation of a message that was begun alone when its process died',
    file: 'src/platform/messaging/takeover.ts',
    code: 'return killer && killer.id === id ? killer.times : 0',
    without: 'return killer && killer.id === `${id} ` ? killer.times : 0',
    noticedBy: {
      file: 'src/platform/messaging/takeover.int.test.ts',
      test: 'a message is accused when a process has died with it alone, and not when it waited for another try',
    },
    bystander: 'a consumer that was given partitions in order asks the database nothing more about them',
  },
  {
    mechanism: 'the look at the lease in the deletion',
    file: 'src/platform/messaging/relay.ts',
    code: `where lease.owner = $2 and lease.epoch = held.epoch)\``,
    without: `where $2::uuid is not null)\``,
    noticedBy: {
      file: 'src/platform/messaging/relay-owners.int.test.ts',
      test: 'a relay that wakes up after its lease deletes nothing that its successor holds, and sends nothing new',
    },
    bystander: 'a relay that stops finishes what it is sending and deletes it',
  },
  {
    mechanism: 'the comparison of versions',
    file: 'src/platform/redis.ts',
    code: 'if not version or version <= given then',
    without: 'if true then',
    noticedBy: {
      file: 'src/platform/snapshots.int.test.ts',
      test: 'an older version never overwrites a newer one, in whatever order they come',
    },
    bystander: 'an id without a snapshot is not found only while Redis is known to hold them all',
  },
  {
    mechanism: 'the retries of a compensation',
    file: 'src/platform/saga/undo.ts',
    code: "return { state: wait(on, resting, step, 'undo', attempt, backoff(step, attempt)), action: null }",
    without: 'return { state: resting, action: null }',
    noticedBy: {
      file: 'src/platform/saga/waiting.int.test.ts',
      test: 'a local compensation that succeeds at a later try has its effect once',
    },
    bystander: 'a command that is not answered in time is sent again, then given up and rolled back, all in one story',
  },
  {
    mechanism: 'the patch of the Postgres driver',
    file: 'node_modules/postgres/src/connection.js',
    code: `const reserves = q.options.onexecute && (q.options.onexecute(connection), true)
      return writable
        && !reserves
        && !q.describeFirst
        && !q.cursorFn
        && sent.length < max_pipeline`,
    without: `return writable
        && !q.describeFirst
        && !q.cursorFn
        && sent.length < max_pipeline
        && (!q.options.onexecute || q.options.onexecute(connection))`,
    noticedBy: {
      file: 'src/platform/postgres-driver.int.test.ts',
      test: 'no acknowledged write is lost when begin is query 100 of a pipeline, 1 connections',
    },
    bystander: 'a connection is reserved fresh from the server, without types to fetch',
  },
  {
    mechanism: 'the patch of the broker client',
    file: 'node_modules/kafkajs/src/network/requestQueue/index.js',
    code: 'if (this.pending.length === 0 && scheduleAt <= 0) {',
    without: 'if (false) {',
    noticedBy: {
      file: 'src/platform/messaging/kafka.int.test.ts',
      test: 'clients of the broker that idle set next to no timers',
    },
    bystander: 'topics are made once, with the partitions asked for, and left as they are',
  },
]
