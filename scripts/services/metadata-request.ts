import { exchange } from './port.ts'

const apiKey = 3
const apiVersion = 5

/** A Kafka Metadata request about no topic, which asks who the brokers are. */
const request = (() => {
  const client = Buffer.from('bulkhead')
  const body = Buffer.alloc(4 + 2 + 2 + 4 + 2 + client.length + 4 + 1)
  let at = body.writeInt32BE(body.length - 4, 0)
  at = body.writeInt16BE(apiKey, at)
  at = body.writeInt16BE(apiVersion, at)
  at = body.writeInt32BE(1, at)
  at = body.writeInt16BE(client.length, at)
  at += client.copy(body, at)
  at = body.writeInt32BE(0, at)
  body.writeInt8(0, at)
  return body
})()

/** An open port is not enough: the broker counts when the cluster's metadata lists it, so that topics can be made. */
export const brokerIsReady = async (port: number): Promise<boolean> => {
  const answer = await exchange(port, request)
  // size, correlation id, throttle time, then the number of brokers
  return answer !== undefined && answer.length >= 16 && answer.readInt32BE(12) > 0
}
