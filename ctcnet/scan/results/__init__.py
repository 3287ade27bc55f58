"""Results of a scanned cartridge: tables, counts, report and exchange formats."""
