// Compares what was sent in both encodings of OTLP, by OpenTelemetry's own generated code:
//   node otlp_check.mjs JSON_FILE PROTOBUF_FILE
// The protobuf is decoded, encoded again and compared byte for byte, so that nothing unknown is in it. The JSON must
// have no key that the message has not, no text that is cut, and, with its ids as bytes, the same in every field.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../dev/node_modules/", import.meta.url));
const root = require("@opentelemetry/otlp-transformer/build/src/generated/root.js");
const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
const IDS = new Set(["traceId", "spanId", "parentSpanId"]);
const problems = [];

function check(fine, text) {
  if (!fine) problems.push(text);
}

// What the message of the generated code makes of JSON; ids are hexadecimal there and base64 in protobuf's own mapping.
function withBytes(value, key) {
  if (Array.isArray(value)) return value.map((item) => withBytes(item, key));
  if (IDS.has(key)) {
    check(/^([0-9a-f]{32}|[0-9a-f]{16})$/.test(value), `${key} is no id: ${value}`);
    return Buffer.from(value, "hex");
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withBytes(item, name)]));
}

const SHOWN = { longs: String, enums: Number, bytes: (bytes) => Buffer.from(bytes).toString("hex"), oneofs: false };
const PLAIN = { longs: String, bytes: String, arrays: true };

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])]));
}

function same(a, b) {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

// Every key and value of `given` must be in `read`, which has what the schema knows.
function compare(given, read, path) {
  for (const [name, value] of Object.entries(given)) {
    const at = `${path}.${name}`;
    if (!(name in read)) {
      check(false, `the schema has no ${at}`);
    } else if (value !== null && typeof value === "object" && !Buffer.isBuffer(value)) {
      compare(value, read[name], at);
    } else if (!Buffer.isBuffer(value)) {
      check(String(value) === String(read[name]), `${at} is ${value} and is read as ${read[name]}`);
    }
  }
}

function noneIsCut(text) {
  check(!/\[cut, \d+ bytes\]|"cut":true/.test(text), "a text was cut");
}

const text = readFileSync(process.argv[2], "utf8");
const binary = readFileSync(process.argv[3]);
const decoded = Request.decode(binary);
const again = Buffer.from(Request.encode(decoded).finish());
check(again.equals(binary), "the protobuf is another once it is decoded and encoded");

const given = withBytes(JSON.parse(text));
const message = Request.fromObject(given);
compare(given, Request.toObject(message, PLAIN), "request");
check(Buffer.from(Request.encode(message).finish()).equals(binary), "the JSON says something else than the protobuf");
check(same(Request.toObject(message, SHOWN), Request.toObject(decoded, SHOWN)), "a field differs");
noneIsCut(text);

const spans = decoded.resourceSpans.flatMap((of) => of.scopeSpans.flatMap((scope) => scope.spans));
for (const problem of problems) console.log(problem);
console.log(`${spans.length} spans`);
process.exit(problems.length ? 1 : 0);
