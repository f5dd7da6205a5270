// node.mjs URL MODE: tries the cases, and writes a line of JSON for each.
import { io } from "socket.io-client";
import { runCases } from "./cases.mjs";

const [url, mode] = process.argv.slice(2);
await runCases(io, url, mode, (result) => console.log(JSON.stringify(result)));
process.exit(0); // whatever a case that failed has left open
