use super::*;

fn profile(name: &str) -> Profile {
    Profile::named(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Parses a profile after replacing one piece of its text, which must be there.
fn edited(name: &str, from: &str, to: &str) -> Result<Profile, Error> {
    let text = EMBEDDED.iter().find(|(known, _)| *known == name).expect("an embedded profile").1;
    assert!(text.contains(from), "{name} does not hold {from}");
    Profile::parse(name, &text.replacen(from, to, 1))
}

#[test]
fn every_embedded_profile_is_valid_and_bears_its_file_name() {
    assert_eq!(names().count(), 9);
    for name in names() {
        assert_eq!(profile(name).name, name);
    }
}

#[test]
fn every_file_of_the_folder_is_embedded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut on_disk: Vec<String> = std::fs::read_dir(folder)
        .expect("the profiles folder")
        .map(|entry| {
            entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    on_disk.sort();
    let mut embedded: Vec<&str> = names().collect();
    embedded.sort_unstable();
    assert_eq!(on_disk, embedded);
}

/// The features that `/proc/cpuinfo` of the devices shows (asimddp is dotprod, asimdhp is fp16).
#[test]
fn features_are_those_of_the_hardware() {
    for old in ["raspberry-pi-3", "raspberry-pi-4", "jetson-nano"] {
        for cluster in &profile(old).clusters {
            assert!(!cluster.has("dotprod") && !cluster.has("fp16") && !cluster.has("i8mm"), "{old}");
        }
    }
    for new in ["raspberry-pi-5", "jetson-orin", "android-phone"] {
        for cluster in &profile(new).clusters {
            assert!(cluster.has("dotprod") && cluster.has("fp16") && !cluster.has("i8mm"), "{new}");
        }
    }
    assert!(profile("jetson-xavier").clusters[0].has("fp16"));
    assert!(!profile("jetson-xavier").clusters[0].has("dotprod"));
}

#[test]
fn peaks_are_clock_times_width_times_pipes() {
    let pi5 = profile("raspberry-pi-5");
    // 2.4 GHz, two pipes, SDOT of 16, FMLA of 8 halves, FMLA of 4 singles.
    let core = pi5.fastest_cluster();
    assert_eq!(core.peak_mac_per_s(Arithmetic::Int8), 2.4e9 * 2.0 * 16.0);
    assert_eq!(core.peak_mac_per_s(Arithmetic::F16), 2.4e9 * 2.0 * 8.0);
    assert_eq!(core.peak_mac_per_s(Arithmetic::F32), 2.4e9 * 2.0 * 4.0);
    // No half-precision arithmetic: it computes in single.
    let pi4 = profile("raspberry-pi-4");
    assert_eq!(pi4.fastest_cluster().peak_mac_per_s(Arithmetic::F16), 1.8e9 * 4.0);
}

#[test]
fn counts_cores_of_all_clusters() {
    assert_eq!(profile("android-phone").core_count(), 8);
    assert_eq!(profile("jetson-orin").core_count(), 6);
    assert_eq!(profile("android-phone").fastest_cluster().core, "cortex-a76");
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = Profile::named("raspberry-pi-9").expect_err("there is none").to_string();
    assert!(message.contains("\"raspberry-pi-9\""), "{message}");
    for name in names() {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn impossible_profiles_are_refused_and_the_field_is_named() {
    let cases = [
        ("raspberry-pi-4", r#"["neon"]"#, r#"["neon", "dotprod"]"#, "clusters[0].features"),
        ("raspberry-pi-5", r#""dotprod""#, r#""dotproduct""#, "clusters[0].features"),
        ("raspberry-pi-5", r#""neon", "#, "", "clusters[0].features"),
        ("raspberry-pi-5", r#""f16": 16,"#, "", "clusters[0].mac_per_cycle.f16"),
        ("raspberry-pi-5", r#""int8": 32"#, r#""int8": 0"#, "clusters[0].mac_per_cycle.int8"),
        ("raspberry-pi-5", r#""count": 4"#, r#""count": 0"#, "clusters[0].count"),
        ("raspberry-pi-5", r#""max_mhz": 2400"#, r#""max_mhz": 2"#, "clusters[0].max_mhz"),
        ("raspberry-pi-5", r#""kib": 64"#, r#""kib": 6400"#, "clusters[0].l1d"),
        ("raspberry-pi-4", r#""shared_by_cores": 4"#, r#""shared_by_cores": 5"#, "clusters[0].l2"),
        ("raspberry-pi-5", r#""page_bytes": 16384"#, r#""page_bytes": 10000"#, "page_bytes"),
        ("raspberry-pi-5", r#""peak_gb_per_s": 17.1"#, r#""peak_gb_per_s": -1"#, "memory.peak_gb_per_s"),
        ("raspberry-pi-4", r#""conv_s8": 8"#, r#""conv_s8": 0"#, "clusters[0].kernels.conv_s8"),
        ("raspberry-pi-5", r#""conv_f16": 11.5,"#, "", "clusters[0].kernels.conv_f16"),
        ("android-phone", r#""max_mhz": 2200"#, r#""max_mhz": 200"#, "clusters"),
    ];
    for (name, from, to, expected) in cases {
        match edited(name, from, to) {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, expected, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn malformed_text_is_refused_with_its_place() {
    let unknown_field = edited("x86_64", r#""arch""#, r#""colour": "red", "arch""#);
    assert!(unknown_field.expect_err("unknown field").to_string().contains("colour"));
    let wrong_type = edited("x86_64", r#""page_bytes": 4096"#, r#""page_bytes": -4096"#);
    let wrong_type = wrong_type.expect_err("negative size").to_string();
    assert!(wrong_type.contains("at page_bytes") && wrong_type.contains("line 6"), "{wrong_type}");
    let deeper =
        edited("raspberry-pi-5", r#""int8": 32"#, r#""int8": "many""#).expect_err("text").to_string();
    assert!(deeper.contains("clusters[0].mac_per_cycle.int8"), "{deeper}");
    assert!(matches!(Profile::parse("empty", ""), Err(Error::Parse { .. })));
}

#[test]
fn a_saved_profile_loads_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.json");
    let saved = profile("jetson-xavier");
    std::fs::write(&path, serde_json::to_string(&saved).expect("JSON")).expect("a file");
    assert_eq!(load(&path).expect("the same profile"), saved);

    let missing = load(&folder.path().join("absent.json")).expect_err("no such file").to_string();
    assert!(missing.contains("absent.json"), "{missing}");
}
