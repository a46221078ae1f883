// A hub listened to with the official client: every step is one JSON line, standard input's end stops it.
// Arguments: hub address, token, "skip" or "negotiate", calls as JSON [[method, ...arguments], ...], events as JSON.
const signalR = require("@microsoft/signalr");

const [hub, token, how, calls, events] = process.argv.slice(2);
const say = (...line) => console.log(JSON.stringify(line));
const skip = how === "skip";
const options = { skipNegotiation: skip, accessTokenFactory: () => token };
if (skip) options.transport = signalR.HttpTransportType.WebSockets;

const connection = new signalR.HubConnectionBuilder()
  .withUrl(hub, options)
  .withAutomaticReconnect([0, 100, 100, 100, 100])
  .configureLogging(signalR.LogLevel.None)
  .build();

async function subscribe() {
  const results = [];
  for (const [method, ...args] of JSON.parse(calls)) results.push(await connection.invoke(method, ...args));
  say("subscribed", results);
}

for (const event of JSON.parse(events)) connection.on(event, (...args) => say("event", event, args));
connection.onreconnecting((error) => say("reconnecting", error ? error.message : null));
connection.onreconnected(subscribe);
connection.onclose((error) => say("closed", error ? error.message : null));

connection
  .start()
  .then(async () => {
    say("started");
    await connection.invoke("Nope").catch((error) => say("refused", error.message));
    await subscribe();
  })
  .catch((error) => say("failed", error.message));

process.stdin.resume();
process.stdin.on("end", () => connection.stop().then(() => process.exit(0)));
