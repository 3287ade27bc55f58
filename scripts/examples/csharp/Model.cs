// What both examples need of a ctcnet model: its session, its metadata, its inputs.
using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Microsoft.ML.OnnxRuntime;

sealed class Model : IDisposable
{
    readonly SessionOptions options = new SessionOptions { IntraOpNumThreads = 1 };

    public readonly InferenceSession Session;

    public Model(string path)
    {
        Session = new InferenceSession(path, options);
    }

    public void Dispose()
    {
        Session.Dispose();
        options.Dispose();
    }

    /// <summary>A property of the file's metadata, such as "classes".</summary>
    public string Property(string key)
    {
        string value;
        if (!Session.ModelMetadata.CustomMetadataMap.TryGetValue(key, out value))
            throw new InvalidDataException("the model has no property " + key);
        return value;
    }

    /// <summary>Raw little-endian uint16 counts of a whole file (on a little-endian machine).</summary>
    public static ushort[] ReadCounts(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        ushort[] counts = new ushort[bytes.Length / sizeof(ushort)];
        Buffer.BlockCopy(bytes, 0, counts, 0, counts.Length * sizeof(ushort));
        return counts;
    }

    /// <summary>Levels in counts, one per channel, from "55,53.5,51"; NaN, "the model's own", for null.</summary>
    public static float[] Levels(string text, int channels)
    {
        if (text == null)
            return Enumerable.Repeat(float.NaN, channels).ToArray();
        float[] values = text.Split(',').Select(part => float.Parse(part, CultureInfo.InvariantCulture)).ToArray();
        if (values.Length != channels)
            throw new InvalidDataException("levels are not one number per channel");
        return values;
    }

    /// <summary>A float as text that reads back as the same float.</summary>
    public static string Text(float value)
    {
        return value.ToString("G9", CultureInfo.InvariantCulture);
    }
}
