//! Peer for the EIF tests: AWS's own image format crate behind two commands.
//!
//! `build KERNEL CMDLINE METADATA.json OUTPUT FLAGS [CERTIFICATE KEY] -- RAMDISK...` writes an image;
//! `describe EIF` reads one. Both print one JSON object.

use aws_nitro_enclaves_image_format::defs::EifIdentityInfo;
use aws_nitro_enclaves_image_format::utils::eif_reader::EifReader;
use aws_nitro_enclaves_image_format::utils::{EifBuilder, PcrSignatureChecker, SignKeyData};
use serde_json::json;
use sha2::{Digest, Sha384};
use std::fs::{self, OpenOptions};
use std::path::Path;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("build") => build(&arguments[1..]),
        Some("describe") => describe(&arguments[1]),
        _ => Err("build or describe".into()),
    }
}

fn build(arguments: &[String]) -> Result<(), Failure> {
    let split = arguments.iter().position(|argument| argument == "--").ok_or("no ramdisks")?;
    let (options, ramdisks) = (&arguments[..split], &arguments[split + 1..]);
    let metadata: EifIdentityInfo = serde_json::from_slice(&fs::read(&options[2])?)?;
    let signer = match options.get(5..7) {
        Some([certificate, key]) => Some(SignKeyData::new(key, Path::new(certificate))?),
        _ => None,
    };
    let flags: u16 = options[4].parse()?;
    let mut builder = EifBuilder::new(
        Path::new(&options[0]),
        options[1].clone(),
        signer,
        Sha384::new(),
        flags,
        metadata,
    );
    for ramdisk in ramdisks {
        builder.add_ramdisk(Path::new(ramdisk));
    }
    let mut output = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&options[3])?;
    println!("{}", json!(builder.write_to(&mut output)));
    Ok(())
}

fn describe(eif: &str) -> Result<(), Failure> {
    let mut reader = EifReader::from_eif(eif.to_string())?;
    let measurements = reader.get_measurements()?;
    let signed = reader.signature_section.is_some();
    if signed {
        reader.get_certificate_info(measurements.clone())?;
        PcrSignatureChecker::from_eif(eif)?.verify()?;
    }
    let name = reader.get_metadata().map(|metadata| metadata.img_name);
    println!(
        "{}",
        json!({
            "measurements": measurements,
            "crc": reader.check_crc(),
            "name": name,
            "signature": reader.sign_check,
            "sections": reader.get_header().num_sections,
        })
    );
    Ok(())
}
