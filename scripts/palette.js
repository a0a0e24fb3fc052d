// A picture in 256 of its colours: a third of the bytes, and for a page no loss to be seen.
// Returns the palette and, in base64, the rows of an indexed PNG before their compression.
async (png) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const { width, height } = picture;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);

  const amounts = new Map();
  for (const colour of pixels) amounts.set(colour, (amounts.get(colour) ?? 0) + 1);
  const colours = [...amounts].map(([colour, amount]) => ({
    colour, parts: [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255], weight: Math.sqrt(amount), distance: Infinity, place: 0,
  }));
  const measure = ([r, g, b], [red, green, blue]) => 2 * (r - red) ** 2 + 4 * (g - green) ** 2 + (b - blue) ** 2;

  // Each time the colour that is worst off: far from what is chosen, and much of it.
  const palette = [];
  let next = colours.reduce((one, other) => (other.weight > one.weight ? other : one));
  while (palette.length < 256 && next.distance > 0) {
    const chosen = next;
    for (const one of colours) {
      const distance = measure(one.parts, chosen.parts);
      if (distance < one.distance) [one.distance, one.place] = [distance, palette.length];
      if (one.weight * one.distance > next.weight * next.distance) next = one;
    }
    palette.push(chosen.parts);
  }
  const places = new Map(colours.map(({ colour, place }) => [colour, place]));

  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = places.get(pixels[y * width + x]);
  }
  const reader = new FileReader();
  reader.readAsDataURL(new Blob([rows]));
  await new Promise((done) => (reader.onload = done));
  return { width, height, palette, rows: reader.result.split(",")[1] };
};
