// The part of a node's page that changes while it boots is asked for anew when something has happened to the node,
// at most once a second.
import { Live } from "./live.js";

const part = document.getElementById("live");
let due;

function changed() {
  if (due) return;
  due = setTimeout(() => {
    due = undefined;
    part.dispatchEvent(new CustomEvent("changed"));
  }, 700);
}

if (part?.dataset.stream) new Live(part.dataset.stream, { changed });
