// kafkajs as one of the compared clients. See ../clients/README.md for the common command line and file format.
// kafkajs reads in groups only, so it produces and administers here; groups are not offered yet.
"use strict";

const fs = require("node:fs");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");

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
    async decompress(buffer) { return Buffer.from(snappy.uncompress(buffer)); },
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    async compress(encoder) {
      const frame = Buffer.from(lz4.compress(encoder.buffer));
      // One block stands alone, but lz4js does not say so, and Kafka refuses frames whose blocks may depend on others.
      frame[4] |= 0x20;
      frame[6] = (xxh.hash(0, frame, 4, 2) >> 8) & 0xff;
      return frame;
    },
    async decompress(buffer) { return Buffer.from(lz4.decompress(buffer)); },
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    async compress(encoder) { return Buffer.from(zstd.compress(encoder.buffer)); },
    async decompress(buffer) { return Buffer.from(zstd.decompress(buffer)); },
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

async function admin(kafka, topic) {
  const client = kafka.admin();
  await client.connect();
  const created = { topics: [{ topic, numPartitions: 2, configEntries: [{ name: "retention.ms", value: "60000" }] }] };
  console.log("created:", await client.createTopics(created));
  console.log("created again:", await client.createTopics(created));
  await client.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  const metadata = await client.fetchTopicMetadata({ topics: [topic] });
  console.log("partitions:", metadata.topics[0].partitions.length);
  const described = await client.describeConfigs({ resources: [{ type: 2, name: topic, configNames: ["retention.ms"] }] });
  const entry = described.resources[0].configEntries[0];
  console.log("retention.ms:", entry.configValue, entry.configSource);
  const offsets = await client.fetchTopicOffsets(topic);
  console.log("offsets:", JSON.stringify(offsets.sort((a, b) => a.partition - b.partition)));
  await client.alterConfigs({ resources: [{ type: 2, name: topic, configEntries: [{ name: "segment.bytes", value: "2097152" }] }] });
  console.log("brokers:", (await client.describeCluster()).brokers.length);
  await client.deleteTopics({ topics: [topic] });
  console.log("listed:", (await client.listTopics()).includes(topic));
  await client.disconnect();
}

async function main([command, bootstrap, ...rest]) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
  if (command === "admin") return admin(kafka, rest[0]);
  const zstd = await new Promise((resolve) => require("zstd-codec").ZstdCodec.run((z) => resolve(new z.Simple())));
  registerCodecs(zstd);
  for (const spec of rest.slice(1)) await produce(kafka, rest[0], spec);
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
