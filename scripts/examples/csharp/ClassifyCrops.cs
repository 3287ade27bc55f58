// Classify crops and print one line of CSV for each. For research use only.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;

static class ClassifyCrops
{
    const int Batch = 64;

    public static void Run(string modelPath, string cropsPath, string backgroundText, string scaleText)
    {
        using (var model = new Model(modelPath))
        {
            string[] classes = model.Property("classes").Split(',');
            string panel = model.Property("panel");
            int channels = panel.Split(',').Length;
            int side = int.Parse(model.Property("crop_size_px"));
            int valuesPerCrop = channels * side * side;

            ushort[] counts = Model.ReadCounts(cropsPath);
            if (counts.Length % valuesPerCrop != 0)
                throw new InvalidDataException("no whole number of crops in the file");
            float[] background = Model.Levels("background", backgroundText, channels);
            float[] scale = Model.Levels("scale", scaleText, channels);

            Console.WriteLine("# For research use only. Model " + model.Property("name") + ", channels " + panel);
            Console.WriteLine("crop,class,unassigned,atypicality," + string.Join(",", classes.Select(name => "p_" + name)));
            int count = counts.Length / valuesPerCrop;
            for (int start = 0; start < count; start += Batch)
            {
                int size = Math.Min(Batch, count - start);
                var crops = new ushort[size * valuesPerCrop];
                Array.Copy(counts, start * valuesPerCrop, crops, 0, crops.Length);
                PrintBatch(model, classes, start, new Dictionary<string, OrtValue>
                {
                    ["crops"] = OrtValue.CreateTensorValueFromMemory(crops, new long[] { size, channels, side, side }),
                    ["background"] = OrtValue.CreateTensorValueFromMemory(background, new long[] { channels }),
                    ["scale"] = OrtValue.CreateTensorValueFromMemory(scale, new long[] { channels }),
                });
            }
        }
    }

    static void PrintBatch(Model model, string[] classes, int start, Dictionary<string, OrtValue> inputs)
    {
        string[] outputs = { "probabilities", "unassigned", "atypicality" };
        using (var options = new RunOptions())
        using (var answers = model.Session.Run(options, inputs, outputs))
        {
            float[] probabilities = answers[0].GetTensorDataAsSpan<float>().ToArray();
            bool[] unassigned = answers[1].GetTensorDataAsSpan<bool>().ToArray();
            float[] atypicality = answers[2].GetTensorDataAsSpan<float>().ToArray();
            for (int row = 0; row < unassigned.Length; row++)
            {
                var p = new ArraySegment<float>(probabilities, row * classes.Length, classes.Length).ToArray();
                int best = Math.Max(0, Array.IndexOf(p, p.Max()));
                string numbers = string.Join(",", new[] { atypicality[row] }.Concat(p).Select(Model.Text));
                Console.WriteLine((start + row) + "," + classes[best] + "," + (unassigned[row] ? 1 : 0) + "," + numbers);
            }
        }
        foreach (OrtValue value in inputs.Values)
            value.Dispose();
    }
}
