//! What the choice of precisions has to keep to, from the command line.

use std::path::Path;

use cygnet_convert::Budget;
use cygnet_convert::predict::Device;
use cygnet_targets::Profile;

use crate::common::CliError;

/// Options of `--precision auto`.
#[derive(clap::Args)]
pub struct BudgetArgs {
    /// With auto: error of the outputs that is accepted, in units of the task's own measure [default: 1; with --max-size
    /// or --max-time the least that they allow]
    #[arg(long, value_name = "X", value_parser = parse_positive)]
    max_error: Option<f64>,

    /// With auto: most bytes of weights, as 3500000, 3500K or 3.5M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,

    /// With auto: most milliseconds of a run on one core of the --target, as predicted
    #[arg(long, value_name = "MS", value_parser = parse_positive, requires = "target")]
    max_time: Option<f64>,

    /// Device that the model is for, a profile's name or JSON file: layers that stay out of int8 are f16 where it computes
    /// in that
    #[arg(long, value_name = "PROFILE")]
    pub target: Option<String>,
}

impl BudgetArgs {
    /// The budget.
    pub fn budget(&self) -> Result<Budget, CliError> {
        let limited = self.max_size.is_some() || self.max_time.is_some();
        Ok(Budget {
            error: self.max_error.unwrap_or(if limited { 0.0 } else { 1.0 }),
            bytes: self.max_size,
            seconds: self.max_time.map(|ms| ms / 1e3),
            device: self.target.as_deref().map(|name| device(&profile(name)?)).transpose()?,
        })
    }

    /// Those that decide what is in the file, for the record.
    pub fn record(&self) -> String {
        let option =
            |name: &str, value: Option<String>| value.map_or(String::new(), |v| format!(" --{name} {v}"));
        [
            option("max-error", self.max_error.map(|v| v.to_string())),
            option("max-size", self.max_size.map(|v| v.to_string())),
            option("max-time", self.max_time.map(|v| v.to_string())),
            option("target", self.target.clone()),
        ]
        .concat()
    }
}

/// A device profile by its name or from a file.
pub fn profile(name: &str) -> Result<Profile, CliError> {
    let found =
        if name.ends_with(".json") { cygnet_targets::load(Path::new(name)) } else { Profile::named(name) };
    found.map_err(|e| match e {
        cygnet_targets::Error::Unknown { .. } => CliError::Usage(e.to_string()),
        other => CliError::Failed(other.to_string()),
    })
}

/// A device to predict times for.
pub fn device(profile: &Profile) -> Result<Device, CliError> {
    Device::new(profile).ok_or_else(|| {
        let name = &profile.name;
        CliError::Failed(format!(
            "the device profile {name} does not say what kernels reach on its core; add 'kernels', as the profile of a \
             like core has them"
        ))
    })
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number.filter(|v| *v > 0.0 && v.is_finite()).ok_or_else(|| "give a number above 0".to_owned())
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1024.0),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1_048_576.0),
        _ => (text, 1.0),
    };
    let number: Option<f64> = number.parse().ok();
    let wrong = || "give a size as 3500000, 3500K or 3.5M".to_owned();
    number.filter(|v| *v > 0.0 && v.is_finite()).map(|v| (v * unit) as u64).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("3500000"), Ok(3_500_000));
        assert_eq!(parse_size("2K"), Ok(2048));
        assert_eq!(parse_size("1.5M"), Ok(1_572_864));
        assert!(parse_size("K").is_err() && parse_size("-1").is_err() && parse_size("").is_err());
    }
}
