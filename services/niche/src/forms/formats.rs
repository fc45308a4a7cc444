//! The field types that a Brazilian product needs and JSON Schema lacks, with their check digits.

/// A named check of a text, used as `x-format` in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Taxpayer number of a person, 11 digits.
    Cpf,
    /// Taxpayer number of a company, 14 characters; letters since July 2026.
    Cnpj,
    /// One of the 27 federative units.
    Uf,
    /// Postal code, 8 digits.
    Cep,
    /// Telephone with area code.
    PhoneBr,
    /// Municipality by the code of IBGE, 7 digits.
    Ibge,
    /// Economic activity, class or subclass.
    Cnae,
    /// Goods by the nomenclature of Mercosur, 8 digits.
    Ncm,
    /// A full web address.
    Url,
}

/// The federative units with the two digits that lead their municipalities' IBGE codes.
pub const STATES: [(&str, &str); 27] = [
    ("RO", "11"),
    ("AC", "12"),
    ("AM", "13"),
    ("RR", "14"),
    ("PA", "15"),
    ("AP", "16"),
    ("TO", "17"),
    ("MA", "21"),
    ("PI", "22"),
    ("CE", "23"),
    ("RN", "24"),
    ("PB", "25"),
    ("PE", "26"),
    ("AL", "27"),
    ("SE", "28"),
    ("BA", "29"),
    ("MG", "31"),
    ("ES", "32"),
    ("RJ", "33"),
    ("SP", "35"),
    ("PR", "41"),
    ("SC", "42"),
    ("RS", "43"),
    ("MS", "50"),
    ("MT", "51"),
    ("GO", "52"),
    ("DF", "53"),
];

/// Municipalities whose published code breaks IBGE's own check digit.
const IBGE_EXCEPTIONS: [&str; 9] = [
    "2201919", "2201988", "2202251", "2611533", "3117836", "3152131", "4305871", "5203939",
    "5203962",
];

/// The area codes in use.
const AREA_CODES: [u8; 67] = [
    11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 27, 28, 31, 32, 33, 34, 35, 37, 38, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 51, 53, 54, 55, 61, 62, 63, 64, 65, 66, 67, 68, 69, 71, 73, 74, 75, 77,
    79, 81, 82, 83, 84, 85, 86, 87, 88, 89, 91, 92, 93, 94, 95, 96, 97, 98, 99,
];

impl Format {
    /// Every format, for lint and documentation.
    pub const ALL: [Self; 9] = [
        Self::Cpf,
        Self::Cnpj,
        Self::Uf,
        Self::Cep,
        Self::PhoneBr,
        Self::Ibge,
        Self::Cnae,
        Self::Ncm,
        Self::Url,
    ];

    /// The name in a kit; also the id of the rule that a bad value breaks.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpf => "cpf",
            Self::Cnpj => "cnpj",
            Self::Uf => "uf",
            Self::Cep => "cep",
            Self::PhoneBr => "phone-br",
            Self::Ibge => "ibge",
            Self::Cnae => "cnae",
            Self::Ncm => "ncm",
            Self::Url => "url",
        }
    }

    /// Reads the name in a kit.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == name)
    }

    /// Whether `text` is a value of this type.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Cpf => is_cpf(text),
            Self::Cnpj => is_cnpj(text),
            Self::Uf => STATES.iter().any(|(uf, _)| *uf == text),
            Self::Cep => {
                matches_shape(text, &["########", "#####-###"])
                    && text.bytes().any(|b| (b'1'..=b'9').contains(&b))
            }
            Self::PhoneBr => is_phone(text),
            Self::Ibge => is_ibge(text),
            Self::Cnae => is_cnae(text),
            Self::Ncm => is_ncm(text),
            Self::Url => is_url(text),
        }
    }

    /// The longest text that can be a value; every form field is bounded.
    pub const fn characters_max(self) -> u64 {
        match self {
            Self::Cpf => 14,
            Self::Cnpj => 18,
            Self::Uf => 2,
            Self::Cep => 9,
            Self::PhoneBr => 24,
            Self::Ibge => 7,
            Self::Cnae | Self::Ncm => 10,
            Self::Url => 2000,
        }
    }

    /// A value without its punctuation, so that two spellings of one number are one natural key.
    pub fn normalise(self, text: &str) -> String {
        match self {
            Self::Url | Self::Uf => text.to_owned(),
            Self::PhoneBr => {
                let digits = digits_of(text);
                if digits.len() > 11 {
                    digits[2..].to_owned()
                } else {
                    digits
                }
            }
            Self::Cpf | Self::Cnpj | Self::Cep | Self::Ibge | Self::Cnae | Self::Ncm => {
                text.chars().filter(char::is_ascii_alphanumeric).collect()
            }
        }
    }
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Whether the text has one of the shapes, in which `#` is a digit, `@` a digit or capital letter, and the rest stands for itself.
fn matches_shape(text: &str, shapes: &[&str]) -> bool {
    shapes.iter().any(|shape| {
        shape.len() == text.len()
            && shape.bytes().zip(text.bytes()).all(|(s, b)| match s {
                b'#' => b.is_ascii_digit(),
                b'@' => b.is_ascii_digit() || b.is_ascii_uppercase(),
                _ => s == b,
            })
    })
}

/// The weighted sum modulo 11 that both taxpayer numbers use; a character counts as its code minus 48.
fn check_digit(characters: &[u8], weights: impl Iterator<Item = u32>) -> u8 {
    let sum: u32 = characters
        .iter()
        .zip(weights)
        .map(|(b, w)| u32::from(b - b'0') * w)
        .sum();
    match sum % 11 {
        0 | 1 => b'0',
        rest => b'0' + u8::try_from(11 - rest).expect("a remainder of 11 leaves at most 9"),
    }
}

fn is_cpf(text: &str) -> bool {
    if !matches_shape(text, &["###########", "###.###.###-##"]) {
        return false;
    }
    let digits = digits_of(text);
    let d = digits.as_bytes();
    // Eleven equal digits pass the arithmetic, and no such number was ever issued.
    d.iter().any(|b| *b != d[0])
        && check_digit(&d[..9], (2..=10).rev()) == d[9]
        && check_digit(&d[..10], (2..=11).rev()) == d[10]
}

fn is_cnpj(text: &str) -> bool {
    if !matches_shape(text, &["@@@@@@@@@@@@##", "@@.@@@.@@@/@@@@-##"]) {
        return false;
    }
    let plain = Format::Cnpj.normalise(text);
    let c = plain.as_bytes();
    let weights = |n: u32| (0..n).map(move |i| (n - 1 - i) % 8 + 2);
    c.iter().any(|b| *b != c[0])
        && check_digit(&c[..12], weights(12)) == c[12]
        && check_digit(&c[..13], weights(13)) == c[13]
}

fn is_phone(text: &str) -> bool {
    if text.len() > 24
        || !text
            .bytes()
            .all(|b| b.is_ascii_digit() || b" ()+-.".contains(&b))
    {
        return false;
    }
    let mut digits = digits_of(text);
    if text.starts_with('+') || digits.len() > 11 {
        let Some(national) = digits.strip_prefix("55") else {
            return false;
        };
        digits = national.to_owned();
    }
    let Some((area, number)) = digits.split_at_checked(2) else {
        return false;
    };
    let area_exists = area
        .parse()
        .is_ok_and(|code: u8| AREA_CODES.contains(&code));
    area_exists
        && match number.len() {
            8 => (b'2'..=b'5').contains(&number.as_bytes()[0]),
            9 => number.starts_with('9'),
            _ => false,
        }
}

fn is_ibge(text: &str) -> bool {
    if !matches_shape(text, &["#######"]) || !STATES.iter().any(|(_, code)| text.starts_with(code))
    {
        return false;
    }
    let d = text.as_bytes();
    let sum: u32 = d[..6]
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let product = u32::from(b - b'0') * if i % 2 == 0 { 1 } else { 2 };
            product / 10 + product % 10
        })
        .sum();
    (10 - sum % 10) % 10 == u32::from(d[6] - b'0') || IBGE_EXCEPTIONS.contains(&text)
}

fn is_cnae(text: &str) -> bool {
    let shape = matches_shape(text, &["#####", "####-#", "#######", "####-#/##"]);
    let division: u8 = text.get(..2).and_then(|d| d.parse().ok()).unwrap_or(0);
    shape
        && matches!(division, 1..=3 | 5..=33 | 35..=39 | 41..=43 | 45..=47 | 49..=53 | 55..=56 | 58..=66 | 68..=75 | 77..=82 | 84..=88 | 90..=97 | 99)
}

fn is_ncm(text: &str) -> bool {
    let chapter: u8 = text.get(..2).and_then(|d| d.parse().ok()).unwrap_or(0);
    matches_shape(text, &["########", "####.##.##"]) && matches!(chapter, 1..=76 | 78..=97)
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let known = ["http", "https", "ftp", "gopher"]
        .iter()
        .any(|s| scheme.eq_ignore_ascii_case(s));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    known
        && host.chars().any(char::is_alphanumeric)
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '<' || c == '>')
}

#[cfg(test)]
mod tests {
    use super::Format::{self, *};

    fn check(format: Format, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(format.accepts(text), "{} refuses {text}", format.as_str());
            assert!(
                text.chars().count() as u64 <= format.characters_max(),
                "{text} is longer than the bound"
            );
        }
        for text in bad {
            assert!(!format.accepts(text), "{} accepts {text}", format.as_str());
        }
    }

    #[test]
    fn a_cpf_has_two_check_digits() {
        check(
            Cpf,
            &["529.982.247-25", "52998224725", "11144477735"],
            &[
                "529.982.247-26",
                "52998224735",
                "111.111.111-11",
                "529982247",
                "529.982.24725",
                "５２９98224725",
                "",
                "5299822472a",
            ],
        );
    }

    #[test]
    fn a_cnpj_has_digits_or_capitals_and_two_check_digits() {
        check(
            Cnpj,
            &[
                "11.222.333/0001-81",
                "11222333000181",
                "12.ABC.345/01DE-35",
                "12ABC34501DE35",
            ],
            &[
                "11.222.333/0001-82",
                "12.abc.345/01DE-35",
                "00000000000000",
                "12.ABC.345/01DE-36",
                "1122233300018",
            ],
        );
    }

    #[test]
    fn states_postal_codes_and_telephones_follow_the_plan_of_numbers() {
        check(Uf, &["SP", "DF", "TO"], &["sp", "XX", "SPX", ""]);
        check(
            Cep,
            &["01310-100", "01310100"],
            &["1310-100", "00000-000", "01310 100", "0131010a"],
        );
        check(
            PhoneBr,
            &[
                "(11) 98765-4321",
                "11987654321",
                "+55 11 98765-4321",
                "(51) 3333-4444",
                "5551912345678",
            ],
            &[
                "987654321",
                "(10) 98765-4321",
                "(11) 88765-4321",
                "+1 212 555 0100",
                "11 9876 432x",
                "(11) 1333-4444",
            ],
        );
    }

    #[test]
    fn codes_of_places_activities_and_goods_are_checked() {
        check(
            Ibge,
            &["3550308", "5300108", "2201919"],
            &["3550309", "9950308", "355030", "35503080"],
        );
        check(
            Cnae,
            &["6201-5/01", "6201501", "6201-5", "62015"],
            &["0401-1", "6201", "62-01-5", "9800-0"],
        );
        check(
            Ncm,
            &["8471.30.12", "84713012"],
            &["7700.00.00", "0071.30.12", "847130", "8471-30-12"],
        );
        check(
            Url,
            &[
                "https://redis.io",
                "http://gcc.gnu.org/",
                "FTP://ftp.gnu.org/x",
            ],
            &[
                "redis.io",
                "javascript://alert",
                "https://",
                "https://a b",
                "mailto:a@b.c",
                "https:///x",
            ],
        );
    }

    #[test]
    fn two_spellings_are_one_value() {
        assert_eq!(Cpf.normalise("529.982.247-25"), "52998224725");
        assert_eq!(
            PhoneBr.normalise("+55 (11) 98765-4321"),
            PhoneBr.normalise("11987654321")
        );
    }
}
