/** Where the shipped model is. A module of its own, for a server has its program's model instead. */
export const MODEL = new URL("../core/model.bin", import.meta.url);
