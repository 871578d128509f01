// The page of open connections. Everything else works without script.
"use strict";
const tick = document.getElementById("tick");
if (tick) {
  const state = document.getElementById("events-state");
  const events = new EventSource("/events");
  const show = (where, text, kind) => { where.textContent = text; where.className = "state " + kind; };
  events.onopen = () => show(state, "open", "done");
  events.addEventListener("tick", (event) => { tick.textContent = event.data; });
  // No reconnecting: the page shows when the gateway ended the stream.
  events.onerror = () => { events.close(); show(state, "closed", "waiting"); };

  const answer = document.getElementById("socket-answer");
  const socketState = document.getElementById("socket-state");
  const socket = new WebSocket("wss://" + location.host + "/socket");
  socket.onopen = () => show(socketState, "open", "done");
  socket.onmessage = (event) => { answer.textContent = event.data; };
  socket.onclose = () => show(socketState, "closed", "waiting");
  document.getElementById("socket-form").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send(document.getElementById("message").value);
  });
}
