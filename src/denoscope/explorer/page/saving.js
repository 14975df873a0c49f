// Files that the server makes of a view: their progress, cancelling them, and saving them.

import { savedLines } from "./api.js";
import { bytesOf } from "./bytes.js";
import { download } from "./poster.js";

export class Saving {
  /** @param box the line of progress; @param work where its end is said; @param say shows an error */
  constructor(box, work, say) {
    this.box = box;
    this.work = work;
    this.say = say;
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
    this.say("");
    try {
      for await (const line of savedLines(kind, address, request.signal)) {
        if (line.error) throw new Error(line.error);
        if (line.data) {
          download(bytesOf(line.data), line.name, line.type);
          this.work.textContent = `${kind} saved`;
        } else {
          bar.max = line.count;
          bar.value = line.done;
        }
      }
    } catch (error) {
      if (this.request === request) this.say(error.message);
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
