// Thumbnails to choose from: the same message layout as the live panel, one button an image.
export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const { arrays, side, channels, indices, names, chosen } = unpack(data), { images } = arrays;
  const size = side * side * channels;
  parentElement.querySelector(".thumbs").replaceChildren(...indices.map((index, n) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.type = "button";
    button.title = `${names[n]} · ${index}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-pressed", index === chosen);
    button.append(canvas);
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d"), pixels = context.createImageData(side, side);
    for (let i = 0; i < side * side; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = images[n * size + i * channels + (channels === 3 ? c : 0)];
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    button.addEventListener("click", () => setTriggerValue("pick", index));
    return button;
  }));
}
