//! What can be wrong with a file or a row of it, in words. Kept as a rule with parameters and said in the language of whoever reads.

use std::collections::BTreeMap;
use std::fmt::Display;

use kernel::Locale;

/// Why an import as a whole cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A stable id, one of those that [`failure_text`] knows.
    pub rule: &'static str,
    /// What the text names.
    pub params: BTreeMap<String, String>,
}

impl Failure {
    /// A failure without parameters.
    pub fn new(rule: &'static str) -> Self {
        Self {
            rule,
            params: BTreeMap::new(),
        }
    }

    /// Adds a parameter of the text.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.params.insert(key.to_owned(), value.to_string());
        self
    }
}

/// Why an import failed: what is wrong and what to do.
pub fn failure_text(rule: &str, params: &BTreeMap<String, String>, locale: Locale) -> String {
    let template = match (rule, locale) {
        ("no_header", Locale::En) => "the file has no header: its first row must name the columns",
        ("no_header", Locale::PtBr) => {
            "o arquivo não tem cabeçalho: a primeira linha deve nomear as colunas"
        }
        ("header_quotes", Locale::En) => {
            "the header has text after a closing quote; write a quote inside a quoted name twice"
        }
        ("header_quotes", Locale::PtBr) => {
            "o cabeçalho tem texto depois de aspas que fecham; dentro de aspas, escreva as aspas duas vezes"
        }
        ("duplicate_columns", Locale::En) => {
            "these columns stand more than once in the header: {columns}; rename or remove one of each"
        }
        ("duplicate_columns", Locale::PtBr) => {
            "estas colunas aparecem mais de uma vez no cabeçalho: {columns}; renomeie ou remova uma de cada"
        }
        ("missing_columns", Locale::En) => {
            "the file lacks columns that every record needs: {columns}"
        }
        ("missing_columns", Locale::PtBr) => {
            "faltam no arquivo colunas de que todo registro precisa: {columns}"
        }
        ("not_utf8", Locale::En) => {
            "row {row} is not UTF-8 text; save the file as UTF-8 and import it again"
        }
        ("not_utf8", Locale::PtBr) => {
            "a linha {row} não é texto UTF-8; salve o arquivo como UTF-8 e importe de novo"
        }
        ("unclosed_quote", Locale::En) => {
            "a quote that opens in row {row} is never closed; the rows before it were worked through, mend the row and import the file again"
        }
        ("unclosed_quote", Locale::PtBr) => {
            "aspas que abrem na linha {row} nunca fecham; as linhas anteriores foram processadas, corrija a linha e importe o arquivo de novo"
        }
        ("row_too_long", Locale::En) => {
            "row {row} is longer than {bytes} bytes or {columns} columns; check the line ends and the quotes of the file"
        }
        ("row_too_long", Locale::PtBr) => {
            "a linha {row} tem mais de {bytes} bytes ou {columns} colunas; verifique as quebras de linha e as aspas do arquivo"
        }
        ("niche_gone", Locale::En) => {
            "the niche, the entity or the import mapping is not active any more; activate it and import the file again"
        }
        ("niche_gone", Locale::PtBr) => {
            "o nicho, a entidade ou o mapeamento de importação não está mais ativo; ative-o e importe o arquivo de novo"
        }
        ("file_gone", Locale::En) => {
            "the uploaded file is not in the object store any more; import the file again"
        }
        ("file_gone", Locale::PtBr) => {
            "o arquivo enviado não está mais no armazenamento; importe o arquivo de novo"
        }
        ("storage", Locale::En) => {
            "the import was tried many times and something that it needs was down each time; import the file again later"
        }
        ("storage", Locale::PtBr) => {
            "a importação foi tentada muitas vezes e algo de que ela precisa estava fora do ar; importe o arquivo de novo mais tarde"
        }
        (_, Locale::En) => {
            "something went wrong on our side; the rows before it were worked through"
        }
        (_, Locale::PtBr) => {
            "algo deu errado do nosso lado; as linhas anteriores foram processadas"
        }
    };
    fill(template, params)
}

/// What is wrong with a row, for the rules that are about the file; the form knows the others.
pub fn row_text(rule: &str, params: &BTreeMap<String, String>, locale: Locale) -> Option<String> {
    let template = match (rule, locale) {
        ("cells", Locale::En) => {
            "the row has {found} cells and the header {expected}; check separators and quotes"
        }
        ("cells", Locale::PtBr) => {
            "a linha tem {found} células e o cabeçalho {expected}; verifique os separadores e as aspas"
        }
        ("quotes", Locale::En) => {
            "the row has text after a closing quote; write a quote inside a quoted cell twice"
        }
        ("quotes", Locale::PtBr) => {
            "a linha tem texto depois de aspas que fecham; dentro de aspas, escreva as aspas duas vezes"
        }
        ("unused_column", Locale::En) => {
            "no field takes this column, so it is not imported; the columns are: {known}"
        }
        ("unused_column", Locale::PtBr) => {
            "nenhum campo recebe esta coluna, então ela não é importada; as colunas são: {known}"
        }
        _ => return None,
    };
    Some(fill(template, params))
}

fn fill(template: &str, params: &BTreeMap<String, String>) -> String {
    params
        .iter()
        .fold(template.to_owned(), |text, (key, value)| {
            text.replace(&format!("{{{key}}}"), value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_own_text_in_both_languages() {
        let rules = [
            "no_header",
            "header_quotes",
            "duplicate_columns",
            "missing_columns",
            "not_utf8",
            "unclosed_quote",
            "row_too_long",
            "niche_gone",
            "file_gone",
            "storage",
            "internal",
        ];
        for locale in [Locale::En, Locale::PtBr] {
            let mut texts: Vec<String> = rules
                .iter()
                .map(|rule| failure_text(rule, &BTreeMap::new(), locale))
                .collect();
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), rules.len());
        }
    }
}
