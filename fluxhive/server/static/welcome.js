// Sets the password of an invited person. The code stands behind the `#` of the link, which a
// browser sends to nobody; it goes out once, in the body of one request.
"use strict";

const api = "/api/v1/auth";
const code = location.hash.slice(1);
const form = document.getElementById("form");
const message = document.getElementById("message");

// Out of the address bar and the history at once.
history.replaceState(null, "", location.pathname);

if (code) {
  form.hidden = false;
} else {
  message.textContent = "This link holds no code. Open the whole link that you were given.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const password = document.getElementById("password").value;
  if (password !== document.getElementById("again").value) {
    message.textContent = "The two passwords differ.";
    return;
  }
  document.getElementById("send").disabled = true;
  try {
    welcome(await answer({ code, password }), password);
  } catch (error) {
    message.textContent = error.message;
    document.getElementById("send").disabled = false;
  }
});

async function answer(body) {
  const response = await fetch(`${api}/invitation`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const found = await response.json();
  if (!response.ok) {
    throw new Error([found.detail, found.hint].filter(Boolean).join(": "));
  }
  return found;
}

async function welcome(grant, password) {
  const signedIn = await fetch(`${api}/session`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username: grant.username, password }),
  });
  // The token of this page is not needed: the browser has its session, the command line makes its own.
  fetch(`${api}/logout`, { method: "POST", headers: { Authorization: `Bearer ${grant.token}` } });
  form.hidden = true;
  message.textContent = `Your password is set, ${grant.username}. Log in from your terminal:`;
  document.getElementById("dashboard").hidden = !signedIn.ok;
  const commands = document.getElementById("commands");
  commands.textContent =
    `fluxhive config control_base_url ${location.origin}\n` +
    `fluxhive login --username ${grant.username}`;
  commands.hidden = false;
}
