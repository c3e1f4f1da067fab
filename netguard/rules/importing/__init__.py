"""Inventories as people have them: any CSV of a spreadsheet or an MDM becomes tablets.csv, whole or not at all."""
