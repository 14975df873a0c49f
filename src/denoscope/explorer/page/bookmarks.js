// Named views with small pictures, which the browser stores; as a file they go elsewhere.

import { LONGEST_NAME, bookmarksOf } from "./bookmark_list.js";
import { disclosure } from "./disclosure.js";
import { say } from "./messages.js";
import { download, thumbnailOf } from "./poster.js";
import { viewsIn } from "./view_file.js";

const KEY = "denoscope.bookmarks";
const MOST = 200;

export class Bookmarks {
  /** @param root the panel; @param button opens it; @param present gives {address, tiles, area, name} */
  constructor(root, button, present) {
    this.root = root;
    this.present = present;
    this.name = root.querySelector("[name=name]");
    this.open = disclosure(root, button, () => this.opened());
    root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.add();
    });
    root.querySelector(".export").addEventListener("click", () => this.exportFile());
    root.querySelector("[type=file]").addEventListener("change", (event) => this.importFile(event.target));
    window.addEventListener("storage", () => root.hidden || this.show());
  }

  opened() {
    this.show();
    this.name.placeholder = this.present().name;
    this.name.focus();
  }

  /** The bookmarks in the storage; none if it holds something else. */
  read() {
    try {
      return bookmarksOf(JSON.parse(localStorage.getItem(KEY) ?? "[]"));
    } catch {
      return [];
    }
  }

  write(bookmarks) {
    say("");
    try {
      if (bookmarks.length > MOST) throw new Error(`bookmarks are ${bookmarks.length}; allowed: ${MOST}; delete some`);
      localStorage.setItem(KEY, JSON.stringify(bookmarks));
    } catch (error) {
      const full = error.name === "QuotaExceededError";
      say(full ? "The browser has no room for more bookmarks; export them and delete some." : error.message);
    }
    this.show();
  }

  add() {
    const { address, tiles, area, name } = this.present();
    const given = this.name.value.trim().slice(0, LONGEST_NAME) || name;
    this.write([...this.read(), { name: given, address, picture: thumbnailOf(tiles, area) }]);
    this.name.value = "";
    this.name.placeholder = name;
  }

  show() {
    const items = this.read().map((bookmark, k) => this.item(bookmark, k));
    this.root.querySelector("ul").replaceChildren(...items);
    this.root.querySelector(".none").hidden = items.length > 0;
  }

  item({ name, address, picture }, k) {
    const link = Object.assign(document.createElement("a"), { href: address });
    const image = Object.assign(document.createElement("img"), { alt: "", width: 96, height: 64 });
    if (picture) image.src = picture;
    const caption = document.createElement("span");
    caption.textContent = name;
    link.append(image, caption);
    const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Delete ${name}`);
    remove.addEventListener("click", () => {
      this.write(this.read().filter((_, other) => other !== k));
      (this.root.querySelectorAll("li button")[k] ?? this.name).focus();
    });
    const item = document.createElement("li");
    item.append(link, remove);
    return item;
  }

  exportFile() {
    const content = JSON.stringify({ denoscope: "bookmarks", bookmarks: this.read() });
    download(new TextEncoder().encode(content), "denoscope-bookmarks.json", "application/json");
  }

  async importFile(input) {
    const [file] = input.files;
    if (!file) return;
    const views = await viewsIn(file).catch(() => null);
    if (views?.bookmarks) this.take(views.bookmarks);
    else say(`${file.name} holds no bookmarks; allowed: a file that Export has written`);
    input.value = "";
  }

  /** Add those of other bookmarks whose views are new. */
  take(others) {
    const own = this.read();
    const known = new Set(own.map(({ address }) => address));
    this.write([...own, ...others.filter(({ address }) => !known.has(address))]);
  }
}
