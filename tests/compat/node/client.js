// kafkajs as one of the compared clients. See ../clients/README.md for the common command line and file format.
// kafkajs consumes in groups only: to read a topic once from end to end, its own Fetch and record decoding are driven by
// its cluster object, beneath the consumer.
"use strict";

const fs = require("node:fs");
const { AssignerProtocol, CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);

function registerCodecs(zstd) {
  const snappy = require("snappyjs");
  const lz4 = require("lz4js");
  const xxh = require("lz4js/xxh32.js");
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    async compress(encoder) {
      const block = Buffer.from(snappy.compress(encoder.buffer));
      const size = Buffer.alloc(4);
      size.writeUInt32BE(block.length);
      return Buffer.concat([XERIAL, size, block]);
    },
    async decompress(buffer) {
      if (!buffer.subarray(0, 8).equals(XERIAL.subarray(0, 8))) return Buffer.from(snappy.uncompress(buffer));
      const parts = [];
      for (let at = 16; at < buffer.length; at += 4 + buffer.readUInt32BE(at)) {
        parts.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + buffer.readUInt32BE(at)))));
      }
      return Buffer.concat(parts);
    },
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    async compress(encoder) {
      const frame = Buffer.from(lz4.compress(encoder.buffer));
      // One block stands alone, but lz4js does not say so, and Kafka refuses frames whose blocks may depend on others.
      frame[4] |= 0x20;
      frame[6] = (xxh.hash(0, frame, 4, 2) >> 8) & 0xff;
      return frame;
    },
    // lz4js reads its own frames only: the blocks of anybody's frame, one by one.
    async decompress(buffer) {
      const flags = buffer[4];
      const out = new Uint8Array(64 << 20);
      let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
      let end = 0;
      for (;;) {
        const size = buffer.readUInt32LE(at);
        at += 4;
        if (size === 0) return Buffer.from(out.subarray(0, end));
        const length = size & 0x7fffffff;
        if (size >>> 31) {
          out.set(buffer.subarray(at, at + length), end);
          end += length;
        } else {
          end = lz4.decompressBlock(buffer, out, at, length, end);
        }
        at += length + (flags & 0x10 ? 4 : 0);
      }
    },
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    async compress(encoder) { return Buffer.from(zstd.simple.compress(encoder.buffer)); },
    // Frames need not say how long their content is, and then only the streaming decoder reads them.
    async decompress(buffer) { return Buffer.from(zstd.streaming.decompress(buffer)); },
  });
}

const decode = (text) => (text === "-" ? null : Buffer.from(text, "base64"));
const CODECS = { none: "None", gzip: "GZIP", snappy: "Snappy", lz4: "LZ4", zstd: "ZSTD" };
const ACKS = { default: undefined, 0: 0, 1: 1, all: -1 };

async function produce(kafka, records, spec) {
  const [topic, codec, acks] = spec.split(":");
  const producer = kafka.producer();
  await producer.connect();
  const messages = fs.readFileSync(records, "utf8").trimEnd().split("\n").map((line) => {
    const [timestamp, key, value, headers] = line.split("\t");
    const message = { timestamp, key: decode(key), value: decode(value) };
    if (headers) {
      message.headers = {};
      for (const header of headers.split(";")) {
        const at = header.indexOf("=");
        message.headers[header.slice(0, at)] = decode(header.slice(at + 1));
      }
    }
    return message;
  });
  for (let at = 0; at < messages.length; at += 500) {
    await producer.send({
      topic, acks: ACKS[acks], compression: CompressionTypes[CODECS[codec]], messages: messages.slice(at, at + 500),
    });
  }
  await producer.disconnect();
}

async function consume(kafka, directory, topic) {
  const create = Object.getOwnPropertySymbols(kafka).find((s) => s.description === "private:Kafka:createCluster");
  const cluster = kafka[create]({ metadataMaxAge: 300000 });
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  const encode = (buffer) => (buffer === null || buffer === undefined ? "-" : Buffer.from(buffer).toString("base64"));
  const lines = [];
  for (const { partitionId, leader } of cluster.findTopicPartitionMetadata(topic)) {
    const [{ partitions: [{ offset: high }] }] = await cluster.fetchTopicsOffset(
      [{ topic, fromBeginning: false, partitions: [{ partition: partitionId }] }]);
    const broker = await cluster.findBroker({ nodeId: leader });
    let next = 0n;
    while (next < BigInt(high)) {
      const { responses } = await broker.fetch({
        maxWaitTime: 20, minBytes: 1, maxBytes: 10 << 20,
        topics: [{ topic, partitions: [{ partition: partitionId, fetchOffset: next.toString(), maxBytes: 1 << 20 }] }],
      });
      for (const message of responses[0].partitions[0].messages) {
        if (BigInt(message.offset) < next) continue;
        const headers = Object.entries(message.headers || {}).map(([name, value]) => `${name}=${encode(value)}`).join(";");
        lines.push([partitionId, message.offset, message.timestamp, encode(message.key), encode(message.value), headers].join("\t"));
        next = BigInt(message.offset) + 1n;
      }
    }
  }
  await cluster.disconnect();
  fs.writeFileSync(`${directory}/${topic}.tsv`, lines.map((line) => line + "\n").join(""));
}

// What other libraries call range; kafkajs itself has an assigner that it shares with none.
const range = ({ cluster }) => ({
  name: "range",
  version: 0,
  async assign({ members, topics }) {
    const ids = members.map(({ memberId }) => memberId).sort();
    const assignments = new Map(ids.map((id) => [id, {}]));
    for (const topic of topics) {
      const partitions = cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId).sort((a, b) => a - b);
      ids.forEach((id, at) => {
        const from = Math.ceil((partitions.length * at) / ids.length);
        assignments.get(id)[topic] = partitions.slice(from, Math.ceil((partitions.length * (at + 1)) / ids.length));
      });
    }
    return ids.map((memberId) => {
      const assignment = { version: this.version, assignment: assignments.get(memberId), userData: Buffer.alloc(0) };
      return { memberId, memberAssignment: AssignerProtocol.MemberAssignment.encode(assignment) };
    });
  },
  protocol({ topics }) {
    const metadata = { version: this.version, topics, userData: Buffer.alloc(0) };
    return { name: this.name, metadata: AssignerProtocol.MemberMetadata.encode(metadata) };
  },
});

async function group(kafka, topic, groupId, assigner) {
  const partitionAssigners = assigner === "range" ? [range] : undefined;
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 1000, partitionAssigners });
  process.on("SIGTERM", () => consumer.disconnect().then(() => process.exit(0)));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ partition, message }) => process.stdout.write(`${partition}\t${message.offset}\n`) });
}

// Six transactions of ten records, every other one aborted.
async function transact(kafka, topic, transactionalId) {
  const producer = kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  for (let i = 0; i < 6; i++) {
    const transaction = await producer.transaction();
    for (let k = 0; k < 10; k++) await transaction.send({ topic, messages: [{ value: `${i}-${k}` }] });
    await (i % 2 === 0 ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
}

// Prints every value up to the end as this isolation level sees it. The last offset of each partition is a marker.
async function isolated(kafka, topic, level) {
  const admin = kafka.admin();
  await admin.connect();
  const left = new Map();
  for (const { partition, high } of await admin.fetchTopicOffsets(topic)) if (BigInt(high) > 0n) left.set(partition, BigInt(high));
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `isolated-${level}-${topic}`, readUncommitted: level === "read_uncommitted" });
  const ended = new Promise((resolve) => {
    consumer.on("consumer.end_batch_process", ({ payload }) => {
      if (BigInt(payload.lastOffset) + 1n >= left.get(payload.partition)) left.delete(payload.partition);
      if (left.size === 0) resolve();
    });
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => process.stdout.write(`${message.value}\n`) });
  await ended;
  await consumer.disconnect();
}

async function admin(kafka, topic) {
  const client = kafka.admin();
  await client.connect();
  const created = { topics: [{ topic, numPartitions: 2, configEntries: [{ name: "retention.ms", value: "60000" }] }] };
  console.log("created:", await client.createTopics(created));
  console.log("created again:", await client.createTopics(created));
  await client.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  // Apache Kafka answers before its broker has taken a change over.
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  let metadata = await client.fetchTopicMetadata({ topics: [topic] });
  for (let i = 0; i < 500 && metadata.topics[0].partitions.length !== 3; i++) {
    await pause();
    metadata = await client.fetchTopicMetadata({ topics: [topic] });
  }
  console.log("partitions:", metadata.topics[0].partitions.length);
  const described = await client.describeConfigs({ resources: [{ type: 2, name: topic, configNames: ["retention.ms"] }] });
  const entry = described.resources[0].configEntries[0];
  console.log("retention.ms:", entry.configValue, entry.configSource);
  const offsets = await client.fetchTopicOffsets(topic);
  console.log("offsets:", JSON.stringify(offsets.sort((a, b) => a.partition - b.partition)));
  await client.alterConfigs({ resources: [{ type: 2, name: topic, configEntries: [{ name: "segment.bytes", value: "2097152" }] }] });
  console.log("brokers:", (await client.describeCluster()).brokers.length);
  await client.deleteTopics({ topics: [topic] });
  let listed = true;
  for (let i = 0; i < 500 && listed; i++) {
    listed = (await client.listTopics()).includes(topic);
    if (listed) await pause();
  }
  console.log("listed:", listed);
  await client.disconnect();
}

async function main([command, bootstrap, ...rest]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
  if (command === "transact") return transact(kafka, rest[0], rest[1]);
  if (command === "isolated") return isolated(kafka, rest[0], rest[1]);
  if (command === "group") return group(kafka, rest[0], rest[1], rest[2]);
  if (command === "admin") return admin(kafka, rest[0]);
  const zstd = await new Promise((resolve) => require("zstd-codec").ZstdCodec.run((z) => resolve({ simple: new z.Simple(), streaming: new z.Streaming() })));
  registerCodecs(zstd);
  for (const spec of rest.slice(1)) {
    try {
      await (command === "produce" ? produce : consume)(kafka, rest[0], spec);
    } catch (error) {
      throw new Error(`${command} ${spec}`, { cause: error });
    }
  }
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
