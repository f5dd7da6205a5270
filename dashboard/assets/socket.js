// A client of one Socket.IO namespace over a WebSocket, as small as it can be:
// Engine.IO protocol 4, Socket.IO protocol 5, text only, events from the server.

const slowest = 15_000; // between two tries to connect, in milliseconds

// follow connects to a namespace and stays connected. `on` has a function for each
// event, and these: connect(), disconnect(), refused(error).
export function follow(path, namespace, on) {
  let tries = 0;

  function open() {
    const url = new URL(`${path}?EIO=4&transport=websocket`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    let patience = 20_000; // without a word of the server's
    let timer;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => socket.close(), patience);
    };
    wait();

    socket.onmessage = ({ data }) => {
      wait();
      const rest = data.slice(1);
      switch (data[0]) {
        case "0": { // open
          const { pingInterval, pingTimeout } = JSON.parse(rest);
          patience = pingInterval + pingTimeout;
          socket.send(`40${namespace},`);
          break;
        }
        case "2": // ping
          socket.send("3");
          break;
        case "4":
          if (rest.slice(1).startsWith(`${namespace},`)) message(rest[0], rest.slice(namespace.length + 2));
      }
    };
    socket.onclose = () => {
      clearTimeout(timer);
      on.disconnect?.();
      // By chance, so that not everybody comes back at the same moment.
      const most = Math.min(slowest, 1000 * 2 ** tries++);
      setTimeout(open, most * (0.5 + Math.random() / 2));
    };

    function message(type, body) {
      switch (type) {
        case "0": // the namespace has let us in
          tries = 0;
          on.connect?.();
          break;
        case "2": {
          const [event, ...args] = JSON.parse(body);
          on[event]?.(...args);
          break;
        }
        case "4":
          on.refused?.(JSON.parse(body));
          socket.close();
          break;
        case "1": // we are to go
          socket.close();
      }
    }
  }

  open();
}
