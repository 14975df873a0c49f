// Files that the server makes of a view: their progress, cancelling them, and saving them.

import { savedLines } from "./api.js";
import { bytesOf } from "./bytes.js";
import { say } from "./messages.js";
import { download } from "./poster.js";

export class Saving {
  /** @param box the line of progress; @param work where its end is said */
  constructor(box, work) {
    this.box = box;
    this.work = work;
    this.request = null;
    box.querySelector("button").addEventListener("click", () => this.cancel());
  }

  /** Make a file of a kind, in place of the one that is being made. */
  async start(kind, address) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const bar = this.box.querySelector("progress");
    this.box.querySelector("span").textContent = `making the ${kind} …`;
    bar.removeAttribute("value");
    this.box.hidden = false;
    this.work.textContent = "";
    say("");
    try {
      for await (const line of savedLines(kind, address, request.signal)) {
        if (line.error) throw new Error(line.error);
        if (line.data) {
          download(bytesOf(line.data), line.name, line.type);
          this.work.textContent = `${kind} saved${line.note ? `: ${line.note}` : ""}`;
        } else {
          bar.max = line.count;
          bar.value = line.done;
        }
      }
    } catch (error) {
      if (this.request === request) say(error.message);
    } finally {
      if (this.request === request) this.end();
    }
  }

  cancel() {
    this.request?.abort();
    this.end();
    this.work.textContent = "cancelled";
  }

  end() {
    this.request = null;
    this.box.hidden = true;
  }
}
