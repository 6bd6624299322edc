//! Files on every system: whole or not at all, over what is there, through links, under any name, and whatever ends their lines.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use wgrad::Error;
use wgrad::data::{AudioClips, Mnist, read_text};
use wgrad::io::{HostTensor, StateDict};
use wgrad::train::{Chart, Panel, Series};

/// Names that scripts, shells and old systems stumble over.
const NAMES: [&str; 6] =
    ["plain", "with spaces in it", "Größe und Maß", "モデル 模型", "weights 🧠", "it's & that; 50% (really) [1] #2"];

fn dict(value: f32, len: usize) -> StateDict {
    let mut dict = StateDict::default();
    dict.tensors.insert("w".into(), HostTensor::from_slice(&vec![value; len], [len]).unwrap());
    dict
}

/// The one value of a file that `dict` has written; all its elements have it.
fn value(path: &Path) -> f64 {
    let values = StateDict::load(path).unwrap_or_else(|e| panic!("{e}")).tensors["w"].data.to_f64();
    assert!(values.iter().all(|v| *v == values[0]), "{}: parts of two files", path.display());
    values[0]
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn chart() -> Chart {
    let series = Series { name: "Verlust".into(), points: vec![(0.0, 1.0), (1.0, 0.5)] };
    let panels = vec![Panel { title: "Größe".into(), series: vec![series], unit: String::new(), log: false }];
    Chart { title: "Übung".into(), x_label: "Schritt".into(), panels }
}

#[test]
fn every_name_can_be_saved_to_and_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    for name in NAMES {
        // The folders are missing.
        let folder = scratch.path().join(name).join("deep er").join(name);
        let path = folder.join(format!("{name}.safetensors"));
        // Nothing there, then a shorter file, a longer one.
        for (v, len) in [(1.0, 10), (2.0, 4), (3.0, 5000)] {
            dict(v, len).save(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(value(&path), f64::from(v), "{name}");
        }
        let svg = folder.join(format!("{name}.svg"));
        chart().save(&svg).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read_text(&svg).unwrap(), chart().to_svg(), "{name}");
        let mut expected = [format!("{name}.safetensors"), format!("{name}.svg")];
        expected.sort();
        assert_eq!(entries(&folder), expected, "no temporary file stays");
    }
    let mut all = NAMES.map(str::to_owned);
    all.sort();
    assert_eq!(entries(scratch.path()), all);
}

#[test]
fn folders_of_data_may_have_any_name() {
    let scratch = tempfile::tempdir().unwrap();
    let data = Path::new(crate::common::ROOT).join("data");
    for name in NAMES {
        let digits = scratch.path().join(name).join("digits");
        fs::create_dir_all(&digits).unwrap();
        for file in ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"] {
            fs::copy(data.join(format!("mnist-5k/{file}-ubyte.gz")), digits.join(format!("{file}-ubyte.gz"))).unwrap();
        }
        assert_eq!(Mnist::load(&digits).unwrap_or_else(|e| panic!("{name}: {e}")).test.size(), [28, 28]);
        // Words are the names of folders.
        let spoken = scratch.path().join(name).join("spoken");
        let wav = fs::read_dir(data.join("spoken-digits/test/one")).unwrap().next().unwrap().unwrap().path();
        fs::create_dir_all(spoken.join(name)).unwrap();
        fs::copy(wav, spoken.join(name).join(format!("{name}.wav"))).unwrap();
        let clips = AudioClips::load(&spoken).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(clips.files().len(), 1, "{name}");
        assert!(clips.files()[0].ends_with(Path::new(name).join(format!("{name}.wav"))), "{name}: {:?}", clips.files());
    }
}

#[cfg(unix)]
fn link(target: &Path, link: &Path, _folder: bool) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link(target: &Path, link: &Path, folder: bool) -> std::io::Result<()> {
    use std::os::windows::fs::{symlink_dir, symlink_file};
    if folder { symlink_dir(target, link) } else { symlink_file(target, link) }
}

#[test]
fn saves_go_through_links_and_leave_them() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir(at("real")).unwrap();
    dict(1.0, 3).save(at("real/a.safetensors")).unwrap();
    let made = link(Path::new("real/a.safetensors"), &at("latest"), false).and_then(|()| fs::symlink_metadata(at("latest")));
    if let Err(e) = made {
        // Windows lets only some users make links. Wine lets nobody, and reports success.
        if !cfg!(windows) {
            panic!("{e}");
        }
        let _ = writeln!(std::io::stderr(), "\nEXCEPTION: saves through links: this system makes no links: {e}");
        return;
    }
    link(Path::new("latest"), &at("latest of all"), false).unwrap();
    link(Path::new("real/new.safetensors"), &at("dangling"), false).unwrap();
    link(Path::new("real"), &at("folder"), true).unwrap();
    // Through a link, a link to a link, one to nothing yet, and a folder's.
    for (v, name, real) in [
        (2.0, "latest", "real/a.safetensors"),
        (3.0, "latest of all", "real/a.safetensors"),
        (4.0, "dangling", "real/new.safetensors"),
        (5.0, "folder/b.safetensors", "real/b.safetensors"),
    ] {
        dict(v, 3).save(at(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((value(&at(real)), value(&at(name))), (f64::from(v), f64::from(v)), "{name}");
    }
    for name in ["latest", "latest of all", "dangling", "folder"] {
        assert!(fs::symlink_metadata(at(name)).unwrap().is_symlink(), "{name} is still a link");
    }
    assert_eq!(entries(&at("real")), ["a.safetensors", "b.safetensors", "new.safetensors"]);
    link(Path::new("round"), &at("about"), false).unwrap();
    link(Path::new("about"), &at("round"), false).unwrap();
    assert!(matches!(dict(1.0, 1).save(at("round")), Err(Error::Io { .. })));
}

#[test]
fn another_name_of_the_old_file_keeps_the_old_contents() {
    let scratch = tempfile::tempdir().unwrap();
    let (path, other) = (scratch.path().join("a"), scratch.path().join("b"));
    dict(1.0, 3).save(&path).unwrap();
    fs::hard_link(&path, &other).unwrap();
    dict(2.0, 3).save(&path).unwrap();
    assert_eq!((value(&path), value(&other)), (2.0, 1.0));
}

#[test]
fn what_cannot_be_written_leaves_what_is_there() {
    let scratch = tempfile::tempdir().unwrap();
    // A folder has the name; a file stands where a folder must be.
    let taken = scratch.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("x"), b"x").unwrap();
    for path in [taken.clone(), taken.join("x").join("file")] {
        assert!(matches!(dict(1.0, 3).save(&path), Err(Error::Io { .. })), "{}", path.display());
    }
    assert_eq!((entries(scratch.path()), entries(&taken)), (vec!["taken".to_owned()], vec!["x".to_owned()]));
    assert_eq!(fs::read(taken.join("x")).unwrap(), b"x");
}

#[test]
fn a_reader_of_the_old_file_reads_it_to_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    dict(1.0, 5000).save(&path).unwrap();
    let old = fs::read(&path).unwrap();
    let mut open = File::open(&path).unwrap();
    let mut first = vec![0; 100];
    open.read_exact(&mut first).unwrap();
    let saved = dict(2.0, 5000).save(&path);
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).unwrap();
    assert_eq!([first, rest].concat(), old);
    drop(open);
    match saved {
        Ok(()) => assert_eq!(value(&path), 2.0),
        // Windows may refuse while the file is open; then all is as it was.
        Err(e) => assert!(cfg!(windows) && value(&path) == 1.0 && entries(scratch.path()) == ["a"], "{e}"),
    }
}

#[test]
fn readers_beside_writers_see_whole_files() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a");
    dict(0.0, 3000).save(&path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        let writers: Vec<_> = (1..=3)
            .map(|w| {
                let path = &path;
                s.spawn(move || (0..20).filter(|i| dict((100 * w + i) as f32, 3000).save(path).is_ok()).count())
            })
            .collect();
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Windows may refuse while a name changes hands.
                match StateDict::load(&path) {
                    Ok(dict) => {
                        let values = dict.tensors["w"].data.to_f64();
                        assert!(values.len() == 3000 && values.iter().all(|v| *v == values[0]), "parts of two files");
                    }
                    Err(e) => assert!(cfg!(windows) && matches!(e, Error::Io { .. }), "{e}"),
                }
            }
        });
        let saved: Vec<usize> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(cfg!(windows) || saved == [20; 3], "{saved:?} of 20 saves each");
        assert!(saved.iter().sum::<usize>() > 0);
    });
    assert_eq!(entries(scratch.path()), ["a"], "no temporary file stays");
    value(&path);
}

#[test]
fn line_ends_of_two_characters_stay_and_are_no_part_of_lines() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("text.txt");
    fs::write(&path, "eins, zwei\r\ndrei\r\n").unwrap();
    let text = read_text(&path).unwrap();
    assert_eq!(text, "eins, zwei\r\ndrei\r\n");
    assert_eq!(text.lines().collect::<Vec<_>>(), ["eins, zwei", "drei"]);
    // Nothing that this crate writes has them, on any system.
    let svg = scratch.path().join("chart.svg");
    chart().save(&svg).unwrap();
    assert!(!read_text(&svg).unwrap().contains('\r'));
}

/// What stands in the repository has the same bytes in every checkout, whatever git does to line ends elsewhere.
#[test]
fn bundled_texts_have_line_ends_of_one_character() {
    let root = Path::new(crate::common::ROOT);
    for file in
        ["data/text/devils-dictionary.txt", "data/diabetes/diabetes.csv", "scripts/test", "shaders/softmax.wgsl", "docs/bits.txt"]
    {
        let text = read_text(root.join(file)).unwrap_or_else(|e| panic!("{e}"));
        assert!(!text.contains('\r') && text.len() > 100, "{file}");
    }
    let rules = read_text(root.join(".gitattributes")).unwrap();
    assert!(
        rules.contains("eol=lf")
            && ["*.gz", "*.safetensors", "*.wav"].iter().all(|kind| rules.contains(&format!("{kind} binary")))
    );
    // Their errors name the file.
    let error = read_text(root.join("no such file.txt")).unwrap_err().to_string();
    assert!(error.contains("no such file.txt"), "{error}");
}
