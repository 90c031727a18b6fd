// Shows what a token opens. The token stays in this page's memory: in no storage, no cookie, no address.
"use strict";
{
  const base = new URL(".", document.currentScript.src);
  const form = document.getElementById("ask");
  const said = document.getElementById("said");
  const shown = async (path, token) => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(new URL(path, base), { headers, cache: "no-store" });
    const text = await answer.text();
    if (!answer.headers.get("content-type")?.includes("json")) return text;
    const value = JSON.parse(text);
    return answer.ok ? JSON.stringify(value, null, 2) : `${value.title}: ${value.detail}`;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { token, path } = form.elements;
    said.textContent = "…";
    said.textContent = await shown(path.value, token.value).catch((error) => `No answer: ${error.message}`);
  });
}
