//! Labels of data sets, as they are commonly written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cygnet::npz;
use cygnet::vision::Rect;
use serde_json::Value;

use super::metrics::Truth;
use crate::common::CliError;
use crate::picture;

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|e| {
        CliError::Failed(format!("cannot read the labels {}: {e}; check the name", path.display()))
    })
}

fn wrong(path: &Path, what: &str) -> CliError {
    CliError::Failed(format!("{}: {what}", path.display()))
}

/// A text for each file name: lines of a name, a comma or a tab, and the text.
pub struct Table(BTreeMap<String, String>);

impl Table {
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let line = |text: &str| {
            let (name, value) = text.split_once(['\t', ','])?;
            Some((name.trim().to_owned(), value.trim_end_matches('\r').to_owned()))
        };
        let text = read(path)?;
        let lines = text.lines().filter(|l| !l.trim().is_empty());
        let table: Option<BTreeMap<_, _>> = lines.map(line).collect();
        let table = table
            .ok_or_else(|| wrong(path, "each line has to be a file name, a comma or tab, and its label"));
        Ok(Self(table?))
    }

    /// The text of a file, by its name.
    pub fn of(&self, file: &Path) -> Option<&str> {
        let name = file.file_name()?.to_string_lossy();
        self.0.get(&*name).map(String::as_str)
    }
}

/// The class of a sample: by the table, by an array `label` or `labels` of the numpy file, by the folder's name, or by the
/// number after the last `_` of the file's.
pub fn class(file: &Path, index: usize, table: Option<&Table>, labels: &[&str]) -> Result<usize, CliError> {
    let numbered = |text: &str| labels.iter().position(|l| *l == text).or_else(|| text.trim().parse().ok());
    let by_table = || table.and_then(|t| t.of(file)).and_then(numbered);
    let by_array = || {
        let arrays = npz::read(file).ok()?;
        let array = arrays.iter().find(|a| a.name == "label" || a.name == "labels")?;
        cygnet_convert::judge::values(array).get(index).map(|&v| v as usize)
    };
    let by_folder = || numbered(&file.parent()?.file_name()?.to_string_lossy());
    let by_name = || numbered(file.file_stem()?.to_string_lossy().rsplit_once('_')?.1);
    let known = if table.is_some() { by_table() } else { by_array().or_else(by_name).or_else(by_folder) };
    known.ok_or_else(|| {
        wrong(
            file,
            "its class is not known; name it in --truth FILE, put it into a folder of the class's name or number, or end \
             its name in _NUMBER",
        )
    })
}

/// Boxes of every picture.
pub enum Boxes {
    /// By file name, of COCO's JSON.
    Coco(BTreeMap<String, Vec<Truth>>),
    /// A folder of text files: class, center and extent as fractions.
    Yolo(PathBuf),
}

impl Boxes {
    /// COCO's instances file, or a folder of YOLO's text files. Classes of COCO's categories are those of the labels with
    /// their names, else counted in the order of their numbers.
    pub fn read(path: &Path, labels: &[&str]) -> Result<Self, CliError> {
        if path.is_dir() {
            return Ok(Self::Yolo(path.to_owned()));
        }
        let json: Value = serde_json::from_str(&read(path)?).map_err(|e| {
            wrong(path, &format!("{e}; give COCO's instances JSON or a folder of YOLO's .txt files"))
        })?;
        coco(&json, labels).map(Self::Coco).ok_or_else(|| {
            wrong(path, "it lacks images, categories or annotations of COCO's form; give an instances file")
        })
    }

    /// The boxes of a picture of this size.
    pub fn of(&self, file: &Path, size: [u32; 2]) -> Result<Vec<Truth>, CliError> {
        match self {
            Self::Coco(all) => {
                let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                all.get(&name)
                    .cloned()
                    .ok_or_else(|| wrong(file, "the labels do not name it; leave it out or label it"))
            }
            Self::Yolo(folder) => {
                let path = folder.join(file.file_stem().unwrap_or_default()).with_extension("txt");
                // A picture that shows nothing has no file.
                if !path.exists() {
                    return Ok(Vec::new());
                }
                let text = read(&path)?;
                let lines = text.lines().filter(|l| !l.trim().is_empty());
                let boxes: Option<Vec<Truth>> = lines.map(|line| yolo(line, size)).collect();
                boxes.ok_or_else(|| {
                    wrong(&path, "each line has to be: class center_x center_y width height, as fractions")
                })
            }
        }
    }
}

fn yolo(line: &str, [width, height]: [u32; 2]) -> Option<Truth> {
    let mut words = line.split_whitespace();
    let class = words.next()?.parse().ok()?;
    let numbers: Option<Vec<f32>> = words.take(4).map(|w| w.parse().ok()).collect();
    let [x, y, w, h] = numbers?.try_into().ok()?;
    let (width, height) = (width as f32, height as f32);
    Some(Truth { rect: Rect::centered(x * width, y * height, w * width, h * height), class, crowd: false })
}

fn coco(json: &Value, labels: &[&str]) -> Option<BTreeMap<String, Vec<Truth>>> {
    let list = |key: &str| json.get(key)?.as_array();
    let mut categories: Vec<(i64, &str)> = list("categories")?
        .iter()
        .map(|c| Some((c.get("id")?.as_i64()?, c.get("name")?.as_str()?)))
        .collect::<Option<_>>()?;
    categories.sort_unstable();
    let named = categories.iter().all(|(_, name)| labels.contains(name));
    let class_of = |id: i64| {
        let place = categories.iter().position(|c| c.0 == id)?;
        if named { labels.iter().position(|l| *l == categories[place].1) } else { Some(place) }
    };
    let mut names = BTreeMap::new();
    let mut all = BTreeMap::new();
    for image in list("images")? {
        let name = image.get("file_name")?.as_str()?;
        let name = name.rsplit('/').next()?.to_owned();
        all.insert(name.clone(), Vec::new());
        names.insert(image.get("id")?.as_i64()?, name);
    }
    for a in list("annotations")? {
        let numbers: Option<Vec<f32>> =
            a.get("bbox")?.as_array()?.iter().map(|v| Some(v.as_f64()? as f32)).collect();
        let [x, y, w, h] = numbers?.try_into().ok()?;
        let rect = Rect { x0: x, y0: y, x1: x + w, y1: y + h };
        let crowd = a.get("iscrowd").and_then(Value::as_i64) == Some(1);
        let truth = Truth { rect, class: class_of(a.get("category_id")?.as_i64()?)?, crowd };
        all.get_mut(names.get(&a.get("image_id")?.as_i64()?)?)?.push(truth);
    }
    Some(all)
}

/// The mask of a picture, `FOLDER/NAME.png`: bright pixels, at this size.
pub fn mask(folder: &Path, file: &Path, [height, width]: [usize; 2]) -> Result<Vec<bool>, CliError> {
    let path = folder.join(file.file_stem().unwrap_or_default()).with_extension("png");
    let image = picture::load(&path)?;
    let (w, h) = (image.width() as usize, image.height() as usize);
    let at = |y: usize, x: usize| {
        let (y, x) = ((2 * y + 1) * h / (2 * height), (2 * x + 1) * w / (2 * width));
        image.pixels()[(y * w + x) * 3] > 127
    };
    Ok((0..height * width).map(|i| at(i / width, i % width)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_by_name_folder_and_table() {
        let known = |path: &str| class(Path::new(path), 0, None, &["cat", "dog"]).ok();
        assert_eq!(known("photos/imagenet_03_990.jpg"), Some(990));
        assert_eq!(known("photos/dog/a.jpg"), Some(1));
        assert_eq!(known("photos/7/a.jpg"), Some(7));
        assert_eq!(known("photos/a.jpg"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, "a.jpg,dog\nb.jpg\t5\n").unwrap();
        let table = Table::read(&path).unwrap();
        let by = |file: &str| class(Path::new(file), 0, Some(&table), &["cat", "dog"]).ok();
        assert_eq!((by("x/a.jpg"), by("b.jpg"), by("c_9.jpg")), (Some(1), Some(5), None));
    }

    #[test]
    fn boxes_of_coco_and_yolo() {
        let json = json!({
            "images": [{ "id": 9, "file_name": "val/a.jpg" }, { "id": 10, "file_name": "b.jpg" }],
            "categories": [{ "id": 90, "name": "dog" }, { "id": 17, "name": "cat" }],
            "annotations": [
                { "image_id": 9, "category_id": 90, "bbox": [10.0, 20.0, 30.0, 40.0], "iscrowd": 1 },
                { "image_id": 9, "category_id": 17, "bbox": [0, 0, 1, 1] },
            ],
        });
        let rect = Rect { x0: 10.0, y0: 20.0, x1: 40.0, y1: 60.0 };
        let by_number = coco(&json, &[]).unwrap();
        assert_eq!(by_number["a.jpg"][0], Truth { rect, class: 1, crowd: true });
        assert_eq!((by_number["a.jpg"][1].class, by_number["b.jpg"].len()), (0, 0));
        let by_name = coco(&json, &["dog", "bird", "cat"]).unwrap();
        assert_eq!((by_name["a.jpg"][0].class, by_name["a.jpg"][1].class), (0, 2));
        assert_eq!(coco(&json!({ "images": [] }), &[]), None);

        let truth = yolo("3 0.5 0.25 0.2 0.1", [100, 200]).unwrap();
        assert_eq!((truth.class, truth.rect), (3, Rect { x0: 40.0, y0: 40.0, x1: 60.0, y1: 60.0 }));
        assert_eq!(yolo("3 0.5 0.25", [100, 200]), None);
    }
}
