#!/usr/bin/env python3
"""Draws samples for models that read: lines of text with their truth, and pages of documents.

    samples.py lines FOLDER COUNT [--seed N]                   # FOLDER/00.png..., FOLDER.txt with "photo<TAB>string"
    samples.py pages FOLDER COUNT --photos DIR [--seed N]      # FOLDER/00.png...

Needs Pillow and the DejaVu fonts (Debian: fonts-dejavu). The same arguments and versions give the same pictures.
"""
import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
STYLES = ["Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "Serif", "Serif-Bold", "Serif-Italic"]
WORDS = """Edge inference of networks on small devices needs care and patience The quick brown fox jumps over a lazy dog
Invoice Total Amount due Date Customer Street Munich London Paris temperature pressure valve serial number model version
copyright rights reserved page chapter section figure table results measured expected method system training value size
image layer error scale weight""".split()


def font(r, size, styles=STYLES):
    return ImageFont.truetype(str(FONTS / f"DejaVu{r.choice(styles)}.ttf"), size)


def words(r, count):
    return " ".join(r.choice(WORDS) for _ in range(count))


def token(r):
    kind = r.random()
    if kind < 0.65:
        return r.choice(WORDS)
    if kind < 0.8:
        return str(r.randint(0, 99999))
    if kind < 0.9:
        return f"{r.randint(0, 999)}.{r.randint(0, 99):02d}"
    date = f"2026/{r.randint(1, 12):02d}/{r.randint(1, 28):02d}"
    return r.choice([f"ID-{r.randint(0, 65535):04X}", date, "A&B", "(c)", "50%", "#12"])


def line(r, width=320, height=48):
    """A line of two to five words that fits, on a ground with noise, half of them blurred."""
    face = font(r, r.randint(22, 34))
    while True:
        text = " ".join(token(r) for _ in range(r.randint(2, 5)))
        left, top, right, bottom = face.getbbox(text)
        if right - left < width - 16:
            break
    ground, ink = r.randint(180, 255), r.randint(0, 90)
    if r.random() < 0.2:
        ground, ink = ink, ground
    picture = Image.new("RGB", (width, height), (ground, ground, max(0, ground - r.randint(0, 20))))
    draw = ImageDraw.Draw(picture)
    draw.text((8 - left, height // 2 - (top + bottom) // 2), text, fill=(ink, ink, ink), font=face)
    if r.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(r.uniform(0.3, 0.9)))
    deviation = r.uniform(1, 14)
    noise = Image.new("L", picture.size)
    noise.putdata([min(255, max(0, round(r.gauss(128, deviation)))) for _ in range(width * height)])
    return Image.blend(picture, noise.convert("RGB"), r.uniform(0, 0.12)), text


def page(r, photos, width=850, height=1100, margin=60, gap=30):
    """A page of one or two columns: title, headings, figures with captions, tables, paragraphs."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    columns = r.choice([1, 2])
    column = (width - 2 * margin - (columns - 1) * gap) // columns
    top = margin
    if r.random() < 0.8:
        draw.text((margin, top), words(r, 6).title(), fill="black", font=font(r, 30))
        top += 70
    body, head = font(r, 15), font(r, 20)
    for c in range(columns):
        x, y = margin + c * (column + gap), top
        while y < height - margin - 80:
            y = block(r, picture, draw, photos, (x, y, column), body, head)
    return picture


def block(r, picture, draw, photos, place, body, head):
    """One block at a place, (x, y, width); returns where the next one begins."""
    x, y, width = place
    kind, small = r.random(), font(r, 13)
    if kind < 0.15:
        draw.text((x, y), f"{r.randint(1, 9)} {words(r, 3).title()}", fill="black", font=head)
        return y + 36
    if kind < 0.27:
        height = r.randint(100, 180)
        picture.paste(Image.open(r.choice(photos)).convert("RGB").resize((width, height)), (x, y))
        draw.text((x, y + height + 6), f"Figure {r.randint(1, 9)}: {words(r, 4)}", fill="black", font=small)
        return y + height + 40
    if kind < 0.36:
        rows = r.randint(4, 7)
        for i in range(rows):
            draw.line((x, y + i * 24, x + width, y + i * 24), fill="black")
            for j in range(4 if i < rows - 1 else 0):
                draw.text((x + 6 + j * width // 4, y + i * 24 + 4), str(r.randint(1, 999)), fill="black", font=small)
        return y + rows * 24 + 10
    for _ in range(r.randint(3, 8)):
        text = ""
        while draw.textlength(text + " w", font=body) < width - 60:
            text += r.choice(WORDS) + " "
        draw.text((x, y), text, fill="black", font=body)
        y += 21
    return y + 14


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["lines", "pages"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, help="folder of photos for the figures of pages")
    args = parser.parse_args()
    if args.kind == "pages" and args.photos is None:
        parser.error("pages need --photos DIR")
    args.folder.mkdir(parents=True, exist_ok=True)
    r = random.Random(args.seed)
    photos = sorted(p for p in args.photos.iterdir() if p.suffix in (".jpg", ".jpeg", ".png")) if args.photos else []
    truth = []
    for i in range(args.count):
        file = f"{i:02d}.png"
        if args.kind == "lines":
            picture, text = line(r)
            truth.append(f"{file}\t{text}\n")
        else:
            picture = page(r, photos)
        picture.save(args.folder / file)
    if truth:
        args.folder.with_suffix(".txt").write_text("".join(truth))


if __name__ == "__main__":
    main()
