// Bookmarks as data: named addresses of views with small pictures.

import { isAddress } from "./view_state.js";

export const LONGEST_NAME = 80;
const PICTURE = /^data:image\/png;base64,[A-Za-z0-9+/=]{1,40000}$/;

/** The valid bookmarks of a list from outside, which may hold anything. */
export function bookmarksOf(list) {
  if (!Array.isArray(list)) return [];
  return list.flatMap((item) => {
    const { name, address, picture } = item ?? {};
    if (typeof name !== "string" || !isAddress(address)) return [];
    return [{ name: name.slice(0, LONGEST_NAME), address, ...(PICTURE.test(picture) ? { picture } : {}) }];
  });
}
